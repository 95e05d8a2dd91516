//! Looking into backups.

use tokio::sync::mpsc;

use super::Operations;
use crate::{
    convoy::{
        BackupUrl, Destination,
        inside::{Content, FoundFiles, Look, ReadFile, Seen},
    },
    daemon::{
        backups::{Looking, StoredUrl},
        inside::{ToRead, compare, find, list, send},
        repository::guarded,
    },
    error::{Error, Result},
    scope,
};

/// So many pieces wait to be taken.
const WAITING: usize = 4;

impl Operations {
    pub(in crate::daemon) fn look(&self, what: &Look) -> Result<Seen> {
        guarded("looking into the backup", || match what {
            Look::List(what) => {
                let (looking, tree) = self.looking(&what.url)?;
                list(&looking.repository, tree, what).map(Seen::List)
            }
            Look::Find(what) => {
                let destination = Destination::parse(&what.url)?;
                let repository = self.destinations.at(&destination)?;
                let of = (what.volume.as_deref(), what.since);
                let nothing = FoundFiles::default();
                match repository.look_through(&destination, of)? {
                    Some((looking, backups)) => {
                        find(&looking.repository, backups, what).map(Seen::Find)
                    }
                    None => Ok(Seen::Find(nothing)),
                }
            }
            Look::Compare(what) => {
                let (looking, from) = self.looking(&what.url)?;
                let (_, to) = self.looking(&what.with)?;
                let at = |url: &str| BackupUrl::parse(url).map(|url| url.destination().key());
                if at(&what.url)? != at(&what.with)? {
                    let error = Error::usage("the two backups are at different destinations");
                    return Err(error.with_hint("compare two at the same destination"));
                }
                compare(&looking.repository, (&from, &to), &what.path, what.most).map(Seen::Compare)
            }
        })
    }

    /// Begins to read a file or a folder of a backup.
    pub(in crate::daemon) fn read_file(&self, what: &ReadFile) -> Result<Content> {
        let (looking, tree) = self.looking(&what.url)?;
        let repository = looking.repository.clone();
        let to_read =
            guarded("looking into the backup", || ToRead::find(repository, tree, what.clone()))?;
        let (entry, length) = (to_read.entry.clone(), to_read.length);
        let (sender, pieces) = mpsc::channel(WAITING);
        let of_error = sender.clone();
        let work = scope::handed_on(move || {
            let _looking = looking;
            send(&to_read, &sender)
        });
        // The error waits until there is room for it, when nobody waits for this reader any more.
        let and_tell = move || {
            if let Err(error) = work() {
                _ = of_error.blocking_send(Err(error));
            }
        };
        let started = std::thread::Builder::new().name("reader".to_owned()).spawn(and_tell);
        started.map_err(|error| Error::io("cannot start a thread", &error))?;
        Ok(Content { entry, length, pieces })
    }

    fn looking(&self, url: &str) -> Result<(Looking, rustic_core::TreeId)> {
        let url = BackupUrl::parse(url)?;
        let destination = url.destination();
        self.destinations.at(&destination)?.look_into(&StoredUrl::of(&url, &destination)?)
    }
}
