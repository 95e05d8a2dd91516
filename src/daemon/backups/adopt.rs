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
    let new: Vec<_> = files.iter().filter(|file| !needs.has_index_file(file)).collect();
    if new.is_empty() {
        return Ok(0);
    }
    let mut coder = repository.coder()?;
    let (mut named, mut marked) = (HashSet::new(), HashMap::new());
    for (id, _) in new {
        let text = coder.open_file(backend.read_file(FileType::Index, id)?.into())?;
        let index: IndexFile = serde_json::from_slice(&text).map_err(|error| {
            Error::new(ErrorKind::Repository, format!("it is no index: {error}"))
        })?;
        named.extend(index.packs.iter().map(|pack| pack.id));
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
    use rustic_core::{WriteBackend as _, repofile::Chunker};

    use super::{
        super::{damage::Damage, prove::prove},
        *,
    };
    use crate::{
        daemon::{
            moment::Files,
            repository::Backend,
            save::{Extras, Source, save},
        },
        progress::NoProgress,
    };

    /// As another host does that does not know the backup: all packs are marked in a new index file, and
    /// the old ones go.
    fn mark_all(repository: &OpenRepository) {
        let old: Vec<_> =
            repository.plain().unwrap().stream_files::<IndexFile>().unwrap().collect();
        let mut marks = IndexFile::default();
        for file in old {
            let (id, index) = file.unwrap();
            marks.packs_to_delete.extend(index.packs);
            repository.backend().remove(FileType::Index, &id, false).unwrap();
        }
        let sealed = repository.coder().unwrap();
        let sealed = { sealed }.seal_file(&serde_json::to_vec(&marks).unwrap()).unwrap();
        let id = Id::new(hash(&sealed));
        repository.backend().write_file(FileType::Index, &id, sealed.into()).unwrap();
    }

    #[test]
    fn what_another_host_marks_while_a_backup_is_made_stays() {
        let scratch = tempfile::tempdir().unwrap();
        let path = |below: &str| scratch.path().join(below);
        std::fs::create_dir(path("volume")).unwrap();
        std::fs::write(path("volume/f"), "content").unwrap();
        let backend = Backend::in_folder(&path("repository"), "host1");
        let repository = OpenRepository::create(backend, "secret", true, Chunker::Rabin).unwrap();
        let volume = path("volume");
        let source = Source {
            files: Files::live(&volume),
            volume: "vol1",
            parent: None,
            extras: Extras::default(),
        };
        let saved = save(&repository, source, &NoProgress, &|| false).unwrap();
        let damage = Damage::in_file(path("damage"));
        name_again(&repository, &saved.needs);
        assert_eq!(repository.backend().files(FileType::Index).unwrap().len(), 1);
        mark_all(&repository);
        prove(&repository, &damage, saved.tree).unwrap_err();
        name_again(&repository, &saved.needs);
        prove(&repository, &damage, saved.tree).unwrap();
        let files = repository.backend().files(FileType::Index).unwrap().len();
        name_again(&repository, &saved.needs);
        assert_eq!(repository.backend().files(FileType::Index).unwrap().len(), files, "once");
    }
}
