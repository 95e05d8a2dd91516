//! Reading packs back. That a disk keeps what it was given shows only when it is read: each pack is
//! named by the hash of its bytes. What was read longest ago is read first, and the root remembers when.

use std::{
    collections::{HashMap, HashSet},
    time::{Duration, Instant},
};

use rustic_core::Id;

use super::{destination::DestinationRepository, prove::packs_of};
use crate::{
    clock::{Clock as _, SystemClock, is_in_future},
    convoy::{ReadBack, WasReadBack},
    daemon::repository::{BlobReader, Index, OpenRepository, hash},
    error::{ErrorKind, Result},
    scope,
    text::counted,
};

/// A call reads so long. A caller takes a daemon that is silent for a minute for one that hangs.
const READING_TIME: Duration = Duration::from_secs(20);

impl DestinationRepository {
    /// Reads packs back, and compares them with their names. Damage is remembered: the backups that
    /// need it are not good from then on, and the next backup stores it again.
    ///
    /// # Errors
    /// [`ErrorKind::Cancelled`] if the run ends, or if the storage fails.
    pub(in crate::daemon) fn read_back(&self, what: &ReadBack) -> Result<WasReadBack> {
        let began = SystemClock.now();
        let (packs, bytes, all_bytes, is_all) = (0, 0, 0, true);
        let mut done = WasReadBack { began, packs, bytes, all_bytes, is_all, damaged: Vec::new() };
        let Some(repository) = self.existing()? else { return Ok(done) };
        let _lock = self.reading_lock()?;
        let index = repository.look_again()?;
        let packs = self.packs_to_read(&repository, &index, what)?;
        done.all_bytes = packs.values().sum();
        let since = what.since.unwrap_or(began);
        let mut times = self.read_times.read();
        let name = |pack: &Id| pack.to_hex().as_str().to_owned();
        let read_at =
            |pack: &Id| times.get(&name(pack)).copied().filter(|time| !is_in_future(*time, began));
        let mut due: Vec<_> = packs
            .iter()
            .map(|(pack, size)| (read_at(pack), *pack, *size))
            .filter(|(time, ..)| time.is_none_or(|time| time < since))
            .collect();
        due.sort_unstable();
        if what.since.is_none() {
            self.count_missing(&repository, &packs, &mut done)?;
        }
        let mut reader = BlobReader::new(&repository)?;
        let end = Instant::now() + READING_TIME;
        for (_, pack, size) in due {
            scope::goes_on("backups were read back")?;
            let is_enough = what.most.is_some_and(|most| done.bytes >= most);
            if is_enough || Instant::now() > end {
                done.is_all = false;
                break;
            }
            done.damaged.extend(self.wrong_with(&repository, &mut reader, (&pack, size))?);
            done.packs += 1;
            done.bytes += size;
            times.insert(name(&pack), began);
        }
        let known: HashSet<String> = index.packs().iter().map(|(pack, _)| name(pack)).collect();
        times.retain(|pack, _| known.contains(pack));
        self.read_times.write(&times);
        Ok(done)
    }

    /// The packs that are to be read, with their sizes in bytes.
    fn packs_to_read(
        &self,
        repository: &OpenRepository,
        index: &Index,
        what: &ReadBack,
    ) -> Result<HashMap<Id, u64>> {
        let all = index.packs().iter().copied();
        let Some(volume) = &what.volume else { return Ok(all.collect()) };
        let backups = self.catalogue.readable(repository)?;
        let of_it = backups.iter().filter(|backup| backup.record.volume == *volume);
        let trees: Vec<_> = of_it.map(|backup| backup.tree).collect();
        let needed = packs_of(repository, index, &trees)?;
        Ok(all.filter(|(pack, _)| needed.contains(pack)).collect())
    }

    /// Adds the packs that are missing or have another size.
    fn count_missing(
        &self,
        repository: &OpenRepository,
        packs: &HashMap<Id, u64>,
        done: &mut WasReadBack,
    ) -> Result<()> {
        repository.look_at_packs(packs)?;
        let lost = repository.lost_now();
        let wrong = packs.keys().filter_map(|pack| lost.what_is_wrong_with(pack));
        done.damaged.extend(wrong);
        done.damaged.sort_unstable();
        Ok(())
    }

    /// What is wrong with a pack. One that is missing or cut was told of before.
    fn wrong_with(
        &self,
        repository: &OpenRepository,
        reader: &mut BlobReader<'_>,
        (pack, size): (&Id, u64),
    ) -> Result<Option<String>> {
        if repository.lost_now().packs.contains_key(pack) {
            return Ok(None);
        }
        let length = u32::try_from(size).unwrap_or(u32::MAX);
        match reader.stretch(pack, 0, length) {
            Ok(content) if Id::new(hash(&content)) == *pack => return Ok(None),
            Err(error) if error.kind != ErrorKind::Repository => return Err(error),
            _ => {}
        }
        self.damage.found_in(repository, &HashSet::from([*pack]))?;
        let pieces = repository.lost_now().pieces.iter().filter(|(of, _)| of == pack).count();
        let name = pack.to_hex();
        Ok(Some(format!(
            "the pack {} is damaged: {} of it can't be read",
            name.as_str(),
            counted(pieces, "piece", "pieces")
        )))
    }
}
