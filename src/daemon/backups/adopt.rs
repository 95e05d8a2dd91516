//! What another host has marked for deletion while a backup was made that relies on it.
//!
//! Nobody can be locked out of a bucket. So a host that gives back space writes its marks first, then
//! lists the backups, and removes old index files only if it knows all of them. A backup writes its
//! file first, and then looks for marks. Whatever the order is, one of the two sees the other.

use std::collections::{HashMap, HashSet};

use rustic_core::{FileType, Id, repofile::IndexFile};

use crate::{
    daemon::{
        repository::{OpenRepository, guarded, hash},
        save::Needs,
    },
    error::{Error, ErrorKind, Result},
};

/// Names again in the index what a new backup needs and another host has marked for deletion
/// meanwhile: what is named stays, whatever marks it. If that fails, the backup's inspection tells what
/// is missing.
pub(super) fn name_again(repository: &OpenRepository, needs: &Needs) {
    let named = || guarded("looking for marks", || try_name_again(repository, needs));
    // Another host may replace an index file after it was listed and before it is read.
    let named = match named() {
        Err(error) if error.kind == ErrorKind::Repository => named(),
        named => named,
    };
    repository.backend().take_failure();
    match named {
        Ok(0) => {}
        Ok(packs) => log::info!("{packs} packs that another host marked for deletion are needed"),
        Err(error) => log::warn!("whether another host deletes what is needed is unknown: {error}"),
    }
}

/// Returns how many packs were named again.
fn try_name_again(repository: &OpenRepository, needs: &Needs) -> Result<usize> {
    let backend = repository.backend();
    let files = backend.files(FileType::Index)?;
    let is_new = |file: &(Id, u32)| !needs.has_index_file(file);
    let is_read = |file: &&(Id, u32)| needs.has_marked_pack() || is_new(file);
    let read: Vec<_> = files.iter().filter(is_read).collect();
    if read.is_empty() {
        return Ok(0);
    }
    let mut coder = repository.coder()?;
    let (mut named, mut marked) = (HashSet::new(), HashMap::new());
    for file @ (id, _) in read {
        let text = coder.open_file(backend.read_file(FileType::Index, id)?.into())?;
        let index: IndexFile = serde_json::from_slice(&text).map_err(|error| {
            Error::new(ErrorKind::Repository, format!("it is no index: {error}"))
        })?;
        // One that was there at the beginning may go: who wrote the marks does not know the backup.
        named.extend(index.packs.iter().filter(|_| is_new(file)).map(|pack| pack.id));
        // A mark without pieces is of a pack that was in no index then: the run's own names it.
        let needed = index.packs_to_delete.into_iter();
        let needed = needed.filter(|pack| needs.has_pack(&pack.id) && !pack.blobs.is_empty());
        marked.extend(needed.map(|pack| (pack.id, pack)));
    }
    marked.retain(|id, _| !named.contains(id));
    if marked.is_empty() {
        return Ok(0);
    }
    let packs = marked.len();
    let index = IndexFile { packs: marked.into_values().collect(), ..IndexFile::default() };
    let text = serde_json::to_vec(&index).map_err(|error| Error::internal(error.to_string()))?;
    let sealed = coder.seal_file(&text)?;
    let id = Id::new(hash(&sealed));
    backend.write_file(FileType::Index, &id, sealed.into())?;
    Ok(packs)
}

#[cfg(test)]
mod tests {
    use rustic_core::repofile::Chunker;

    use super::{
        super::{damage::Damage, prove::prove},
        *,
    };
    use crate::{
        daemon::{
            moment::Files,
            repository::Backend,
            save::{Extras, Saved, Source, save},
        },
        progress::NoProgress,
    };

    /// As another host does that does not know the backup: all packs are marked in a new index file.
    /// Returns the old ones, which go then.
    fn mark_all(repository: &OpenRepository) -> Vec<Id> {
        let plain = repository.plain().unwrap();
        let old = plain.stream_files::<IndexFile>().unwrap();
        let (mut marks, mut files) = (IndexFile::default(), Vec::new());
        for (id, index) in old.map(Result::unwrap) {
            marks.packs_to_delete.extend(index.packs);
            files.push(*id);
        }
        let sealed = repository.coder().unwrap();
        let sealed = { sealed }.seal_file(&serde_json::to_vec(&marks).unwrap()).unwrap();
        let id = Id::new(hash(&sealed));
        repository.backend().write_file(FileType::Index, &id, sealed.into()).unwrap();
        files
    }

    struct Scene {
        scratch: tempfile::TempDir,
        repository: OpenRepository,
    }

    impl Scene {
        fn new() -> Self {
            let scratch = tempfile::tempdir().unwrap();
            std::fs::create_dir(scratch.path().join("volume")).unwrap();
            std::fs::write(scratch.path().join("volume/f"), "content").unwrap();
            let backend = Backend::in_folder(&scratch.path().join("repository"), "host1");
            let repository =
                OpenRepository::create(backend, "secret", true, Chunker::Rabin).unwrap();
            Self { scratch, repository }
        }

        fn save(&self) -> Saved {
            let volume = self.scratch.path().join("volume");
            let files = Files::live(&volume);
            let extras = Extras::default();
            let source = Source { files, volume: "vol1", parent: None, extras };
            save(&self.repository, source, &NoProgress, &|| false).unwrap()
        }

        fn index_files(&self) -> usize {
            self.repository.backend().files(FileType::Index).unwrap().len()
        }

        fn remove(&self, files: &[Id]) {
            let backend = self.repository.backend();
            files.iter().for_each(|id| backend.remove_file(FileType::Index, id).unwrap());
        }

        fn prove(&self, saved: &Saved) -> Result<()> {
            let damage = Damage::in_file(self.scratch.path().join("damage"));
            prove(&self.repository, &damage, saved.tree)
        }
    }

    #[test]
    fn what_another_host_marks_while_a_backup_is_made_stays() {
        let scene = Scene::new();
        let saved = scene.save();
        name_again(&scene.repository, &saved.needs);
        assert_eq!(scene.index_files(), 1);
        scene.remove(&mark_all(&scene.repository));
        scene.prove(&saved).unwrap_err();
        name_again(&scene.repository, &saved.needs);
        scene.prove(&saved).unwrap();
        let files = scene.index_files();
        name_again(&scene.repository, &saved.needs);
        assert_eq!(scene.index_files(), files, "once");
    }

    #[test]
    fn what_another_host_has_just_marked_and_still_names_stays() {
        let scene = Scene::new();
        scene.save();
        let old = mark_all(&scene.repository);
        let saved = scene.save();
        name_again(&scene.repository, &saved.needs);
        scene.remove(&old);
        scene.prove(&saved).unwrap();
    }
}
