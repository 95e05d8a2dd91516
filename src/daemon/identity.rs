//! Which root this is: its random id, and where it is. A copy of a root has the ids of its original,
//! so a root that finds itself elsewhere takes a new id. What it made under the old one may be the
//! original's, until somebody says that the root was moved and not copied.

use std::{
    fs,
    path::{Path, PathBuf},
    time::SystemTime,
};

use rustic_core::Id;
use serde::{Deserialize, Serialize};

use super::{format, root::Root};
use crate::{
    convoy::Origin,
    error::{Error, Result},
    files::{write_error, write_whole},
};

/// The files that tell one machine from another, beside `/etc/machine-id`, which copied disks share.
const HARDWARE: [&str; 2] =
    ["/sys/class/dmi/id/product_uuid", "/sys/firmware/devicetree/base/serial-number"];

/// Who a root is. It is in the file `identity.json` of the root.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Identity {
    /// 16 random hexadecimal digits.
    id: String,
    place: Place,
    /// The ids that this root had before it was moved.
    #[serde(default)]
    former: Vec<String>,
    /// The ids that this root, or the one of which it is a copy, had before.
    #[serde(default)]
    unsettled: Vec<String>,
}

/// Where a root is. What is not known says nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Place {
    /// The id that the system's installation got. Most containers have none.
    machine: Option<String>,
    /// The id or the serial number of the hardware, real or virtual. Only root may read it.
    hardware: Option<String>,
    /// When the root's folder was made. A copy of a folder is a new folder, also on one machine.
    folder: Option<String>,
}

impl Identity {
    /// Reads who a root is, and writes it if the root is new, is of version 0.1.0, or is in another
    /// place than before. Adds a sentence if the root is in another place.
    ///
    /// # Errors
    /// If the file can't be read or written.
    pub(super) fn of(root: &Root, sentences: &mut Vec<String>) -> Result<Self> {
        let path = root.identity();
        let place = Place::of(root.path());
        let known = Self::read(&path)?;
        let identity = match &known {
            None => Self { id: new_id(), place, former: Vec::new(), unsettled: Vec::new() },
            Some(known) if known.place.is_other_than(&place) => {
                sentences.push(format!(
                    "\"{}\" was copied or moved to another place; backups made before are left alone, as they may be another host's (if it was moved, and nothing else uses it any more: \"convoy-backups daemon moved\")",
                    root.path().display()
                ));
                let unsettled = known.unsettled.iter().chain([&known.id]).cloned().collect();
                Self { id: new_id(), place, unsettled, ..known.clone() }
            }
            Some(known) => Self { place: known.place.with(place), ..known.clone() },
        };
        if known.as_ref() != Some(&identity) {
            identity.write(&path)?;
        }
        Ok(identity)
    }

    /// Whether the root was copied or moved, and that is not settled, by its file and its place.
    pub(super) fn is_copied(path: &Path) -> bool {
        let root = Root::looked_at(path);
        let known = Self::read(&root.identity()).ok().flatten();
        known.is_some_and(|known| {
            !known.unsettled.is_empty() || known.place.is_other_than(&Place::of(root.path()))
        })
    }

    /// Settles that a root was moved and not copied, so that all that it made before is its own.
    /// Returns whether there was anything to settle.
    ///
    /// # Errors
    /// [`crate::error::ErrorKind::Busy`] if a process owns the root; otherwise as
    /// [`Identity::of`].
    pub(super) fn settle_moved(root: &Root) -> Result<bool> {
        let _owned = root.own()?;
        format::take_over(root)?;
        let mut identity = Self::of(root, &mut Vec::new())?;
        let unsettled = std::mem::take(&mut identity.unsettled);
        if unsettled.is_empty() {
            return Ok(false);
        }
        identity.former.extend(unsettled);
        identity.write(&root.identity())?;
        Ok(true)
    }

    pub(super) fn id(&self) -> &str {
        &self.id
    }

    /// The id of the root of which this one may be a copy.
    pub(super) fn copy_of(&self) -> Option<&str> {
        self.unsettled.last().map(String::as_str)
    }

    /// Where a backup was made that names this root, or none, as version 0.1.0 did. `is_shared`:
    /// another root made backups of a volume with the same id.
    pub(super) fn origin(&self, root: Option<&str>, is_shared: bool) -> Option<Origin> {
        let is_in = |ids: &[String], root| ids.iter().any(|id| id == root);
        match root {
            Some(root) if root == self.id || is_in(&self.former, root) => Some(Origin::Here),
            Some(root) if is_in(&self.unsettled, root) => Some(Origin::Unsettled),
            Some(_) => Some(Origin::Elsewhere),
            None if is_shared || !self.unsettled.is_empty() => Some(Origin::Unsettled),
            None => None,
        }
    }

    fn read(path: &Path) -> Result<Option<Self>> {
        let content = match fs::read(path) {
            Ok(content) => content,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => {
                return Err(Error::io(format!("cannot read \"{}\"", path.display()), &error));
            }
        };
        serde_json::from_slice(&content).map(Some).map_err(|error| {
            Error::configuration(format!("\"{}\" can't be read: {error}", path.display())).with_hint(
                "put it back from a copy; without it, deletions leave the backups made so far alone",
            )
        })
    }

    fn write(&self, path: &Path) -> Result<()> {
        let content =
            serde_json::to_vec_pretty(self).map_err(|error| Error::internal(error.to_string()))?;
        write_whole(path, &content).map_err(|error| write_error(path, &error))
    }

    /// An identity without a file.
    #[cfg(test)]
    pub(super) fn random() -> Self {
        let place = Place { machine: None, hardware: None, folder: None };
        Self { id: new_id(), place, former: Vec::new(), unsettled: Vec::new() }
    }
}

impl Place {
    fn of(root: &Path) -> Self {
        let read = |path: &PathBuf| {
            let text = fs::read_to_string(path).ok()?;
            let text = text.trim_matches(|c: char| c.is_whitespace() || c == '\0');
            (!text.is_empty() && text != "uninitialized").then(|| text.to_owned())
        };
        let made = fs::metadata(root).and_then(|metadata| metadata.created()).ok();
        let made = made.and_then(|time| time.duration_since(SystemTime::UNIX_EPOCH).ok());
        Self {
            machine: read(&PathBuf::from("/etc/machine-id")),
            hardware: HARDWARE.iter().map(PathBuf::from).find_map(|path| read(&path)),
            folder: made.map(|made| format!("{}.{:09}", made.as_secs(), made.subsec_nanos())),
        }
    }

    fn is_other_than(&self, now: &Self) -> bool {
        let differ = |one: &Option<String>, other: &Option<String>| {
            one.as_ref().zip(other.as_ref()).is_some_and(|(one, other)| one != other)
        };
        differ(&self.machine, &now.machine)
            || differ(&self.hardware, &now.hardware)
            || differ(&self.folder, &now.folder)
    }

    /// The same place, with what is known of it now.
    fn with(&self, now: Self) -> Self {
        Self {
            machine: now.machine.or_else(|| self.machine.clone()),
            hardware: now.hardware.or_else(|| self.hardware.clone()),
            folder: now.folder.or_else(|| self.folder.clone()),
        }
    }
}

/// 16 random hexadecimal digits.
pub(super) fn new_id() -> String {
    Id::random().to_hex().as_str()[..16].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(machine: Option<&str>, hardware: Option<&str>, folder: Option<&str>) -> Place {
        let [machine, hardware, folder] =
            [machine, hardware, folder].map(|text| text.map(str::to_owned));
        Place { machine, hardware, folder }
    }

    #[test]
    fn a_place_is_another_one_if_something_differs_that_is_known_of_both() {
        let here = place(Some("m1"), Some("h1"), Some("1.0"));
        for same in [
            here.clone(),
            place(None, None, None),
            place(None, Some("h1"), Some("1.0")),
            place(Some("m1"), None, None),
        ] {
            assert!(!here.is_other_than(&same), "{same:?}");
            assert_eq!(here.with(same), here);
        }
        for other in [
            place(Some("m2"), Some("h1"), Some("1.0")),
            place(Some("m1"), Some("h2"), Some("1.0")),
            place(None, None, Some("2.0")),
        ] {
            assert!(here.is_other_than(&other), "{other:?}");
        }
    }

    #[test]
    fn a_backup_names_the_root_that_made_it_and_one_of_0_1_0_names_none() {
        let identity =
            Identity { former: vec!["moved".into()], unsettled: Vec::new(), ..Identity::random() };
        let id = identity.id().to_owned();
        assert_eq!(identity.origin(Some(&id), true), Some(Origin::Here));
        assert_eq!(identity.origin(Some("moved"), true), Some(Origin::Here));
        assert_eq!(identity.origin(Some("other"), false), Some(Origin::Elsewhere));
        assert_eq!(identity.origin(None, false), None);
        assert_eq!(identity.origin(None, true), Some(Origin::Unsettled));
        let copy = Identity { unsettled: vec![id.clone()], ..Identity::random() };
        assert_eq!(copy.origin(Some(&id), false), Some(Origin::Unsettled));
        assert_eq!(copy.origin(None, false), Some(Origin::Unsettled));
    }
}
