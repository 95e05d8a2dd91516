//! Of what moment the files of a backup are, which of them changed or went missing while they were
//! read, and which could not be read.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};
use serde_json::json;

/// The field with the kind of moment that a backup is of: `live`, if its files were read one after
/// the other while programs could write to them.
pub(crate) const MOMENT: &str = "Moment";
/// The field with the number of files that changed or went missing while they were read.
pub(crate) const CHANGED_FILES: &str = "ChangedFiles";
/// The field with the paths of some of them, as a JSON list.
pub(crate) const CHANGED_PATHS: &str = "ChangedPaths";

/// The field with the number of files and folders that a backup lacks because they could not be read.
pub(crate) const LACKING_FILES: &str = "LackingFiles";
/// The field with some of them, as a JSON list of [`LackingFile`].
pub(crate) const LACKING: &str = "Lacking";

/// The field with the number of files and folders that are left out as configured, each folder with all in
/// it.
pub(crate) const EXCLUDED_FILES: &str = "ExcludedFiles";

/// The field that says for how long the programs that write to the volume were held still, in
/// milliseconds.
pub(crate) const HELD_MILLISECONDS: &str = "HeldMilliseconds";

/// The field that says for how long each container stood still, in milliseconds, as a JSON map.
pub(crate) const HELD_CONTAINERS: &str = "HeldContainers";

/// The field with the dumps of databases that a backup has, as a JSON list of [`DumpRecord`].
pub(crate) const DUMPS: &str = "Dumps";

/// A file or a folder that could not be read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct LackingFile {
    /// In the volume.
    pub(crate) path: String,
    /// Why it could not be read, in words for people.
    pub(crate) why: String,
}

impl fmt::Display for LackingFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\": {}", self.path, self.why)
    }
}

/// A dump of a database that a backup has as a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct DumpRecord {
    /// `postgres`, `mysql`, `mariadb`, `mongodb`, `redis` or `sqlite`.
    pub(crate) kind: String,
    /// The name of the container in which it was made.
    pub(crate) container: String,
    /// The path in the volume.
    pub(crate) path: String,
    pub(crate) bytes: u64,
}

/// Of what moment the files of a backup are. A daemon that does not tell leaves all of it empty.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct MomentRecord {
    /// The kind: `live`, `reflink`, `btrfs` or `command`; `dump` if it has no files but dumps.
    pub(crate) kind: Option<String>,
    /// The number of files and folders that changed while they were read, or went missing: moved or
    /// removed. What the backup has of them may be torn, or nothing.
    pub(crate) changed_files: u64,
    /// The paths of the first of them, in the volume.
    pub(crate) changed_paths: Vec<String>,
    /// The number of files and folders that could not be read, so that the backup is partial.
    pub(crate) lacking_files: u64,
    /// The first of them.
    pub(crate) lacking: Vec<LackingFile>,
    /// The number of files and folders that are left out as configured.
    pub(crate) excluded_files: u64,
    /// How long the programs that write to the volume were held still, in milliseconds; `None` if
    /// they were not.
    pub(crate) stood: Option<u64>,
    /// How long each container stood still, by its name, in milliseconds.
    pub(crate) containers: BTreeMap<String, u64>,
    pub(crate) dumps: Vec<DumpRecord>,
}

impl MomentRecord {
    /// Reads the fields of a backup.
    pub(crate) fn of(fields: &BTreeMap<String, String>) -> Self {
        let paths = fields.get(CHANGED_PATHS);
        Self {
            kind: fields.get(MOMENT).cloned(),
            changed_files: fields
                .get(CHANGED_FILES)
                .and_then(|count| count.parse().ok())
                .unwrap_or_default(),
            changed_paths: paths
                .and_then(|paths| serde_json::from_str(paths).ok())
                .unwrap_or_default(),
            lacking_files: fields
                .get(LACKING_FILES)
                .and_then(|count| count.parse().ok())
                .unwrap_or_default(),
            lacking: fields
                .get(LACKING)
                .and_then(|lacking| serde_json::from_str(lacking).ok())
                .unwrap_or_default(),
            excluded_files: fields
                .get(EXCLUDED_FILES)
                .and_then(|count| count.parse().ok())
                .unwrap_or_default(),
            stood: fields.get(HELD_MILLISECONDS).and_then(|stood| stood.parse().ok()),
            containers: fields
                .get(HELD_CONTAINERS)
                .and_then(|containers| serde_json::from_str(containers).ok())
                .unwrap_or_default(),
            dumps: fields
                .get(DUMPS)
                .and_then(|dumps| serde_json::from_str(dumps).ok())
                .unwrap_or_default(),
        }
    }

    /// The fields of a backup.
    pub(crate) fn fields(&self) -> Vec<(&'static str, String)> {
        let mut fields = Vec::new();
        fields.extend(self.kind.clone().map(|kind| (MOMENT, kind)));
        fields.extend(self.stood.map(|stood| (HELD_MILLISECONDS, stood.to_string())));
        if !self.containers.is_empty() {
            fields.push((HELD_CONTAINERS, json!(self.containers).to_string()));
        }
        if !self.dumps.is_empty() {
            fields.push((DUMPS, json!(self.dumps).to_string()));
        }
        if self.changed_files > 0 {
            fields.push((CHANGED_FILES, self.changed_files.to_string()));
            fields.push((CHANGED_PATHS, json!(self.changed_paths).to_string()));
        }
        if self.excluded_files > 0 {
            fields.push((EXCLUDED_FILES, self.excluded_files.to_string()));
        }
        if self.lacking_files > 0 {
            fields.push((LACKING_FILES, self.lacking_files.to_string()));
            fields.push((LACKING, json!(self.lacking).to_string()));
        }
        fields
    }

    /// How many files may be torn, and a database in them not open: those that changed. A dump beside
    /// them is of one database, and there may be others.
    pub(crate) fn torn_files(&self) -> u64 {
        self.changed_files
    }

    /// What is said of files that could not be read, as what the backup is; `None` if there were none. Such
    /// a backup is partial, and counts for nothing while there is a whole one.
    pub(crate) fn lacks(&self) -> Option<String> {
        let files = match self.lacking_files {
            0 => return None,
            1 => "1 file or folder that could not be read".to_owned(),
            more => format!("{more} files or folders that could not be read"),
        };
        let named: Vec<_> = self.lacking.iter().map(ToString::to_string).collect();
        let more = if self.lacking_files > named.len() as u64 { ", .." } else { "" };
        let named = match named.as_slice() {
            [] => String::new(),
            named => format!(" ({}{more})", named.join(", ")),
        };
        Some(format!("it lacks {files}{named}"))
    }

    /// What is said of files that are left out as configured; `None` if there are none.
    pub(crate) fn excluded(&self) -> Option<String> {
        let files = match self.excluded_files {
            0 => return None,
            1 => "1 file or folder is left out".to_owned(),
            more => format!("{more} files or folders are left out"),
        };
        Some(format!("{files}, as configured (docs/excludes.md)"))
    }

    /// What is said of files that changed or went missing while they were read; `None` if there were
    /// none.
    pub(crate) fn warning(&self) -> Option<String> {
        let (files, them) = match self.changed_files {
            0 => return None,
            1 => ("1 file".to_owned(), "it"),
            more => (format!("{more} files"), "they"),
        };
        let named: Vec<_> = self.changed_paths.iter().map(|path| format!("\"{path}\"")).collect();
        let more = self.changed_files > named.len() as u64;
        let named = match (named.join(", "), more) {
            (named, false) => format!(" ({named})"),
            (named, true) if named.is_empty() => String::new(),
            (named, true) => format!(" ({named}, ..)"),
        };
        let were = if them == "it" { "was" } else { "were" };
        let so = if self.dumps.is_empty() {
            "a database among them may not open"
        } else {
            "a database among them may not open; the one that was dumped is to be restored from its dump, which is whole"
        };
        Some(format!("{files} changed or went missing while {them} {were} read{named}; {so}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_moment_comes_back_from_its_fields_and_names_what_changed() {
        let still = MomentRecord { kind: Some("btrfs".into()), ..MomentRecord::default() };
        let paths = vec!["db/main.sqlite".to_owned(), "a \"b\"".to_owned()];
        let kind = Some("live".to_owned());
        let torn = MomentRecord {
            kind,
            changed_files: 3,
            changed_paths: paths,
            ..MomentRecord::default()
        };
        let containers = BTreeMap::from([("db".to_owned(), 300)]);
        let stood = MomentRecord { stood: Some(312), containers, ..still.clone() };
        let dump = DumpRecord {
            kind: "postgres".into(),
            container: "db".into(),
            path: ".convoy-backups.db.postgres.sql".into(),
            bytes: 7,
        };
        let dumped = MomentRecord { dumps: vec![dump], ..torn.clone() };
        let unread = LackingFile { path: "a".into(), why: "Permission denied".into() };
        let partial = MomentRecord {
            lacking_files: 12,
            lacking: vec![unread],
            excluded_files: 2,
            ..MomentRecord::default()
        };
        for moment in [&still, &torn, &stood, &dumped, &partial, &MomentRecord::default()] {
            let fields = moment.fields().into_iter();
            let fields = fields.map(|(name, value)| (name.to_owned(), value)).collect();
            assert_eq!(MomentRecord::of(&fields), *moment);
        }
        assert_eq!((still.warning(), still.lacks()), (None, None));
        assert_eq!(
            partial.lacks().unwrap(),
            "it lacks 12 files or folders that could not be read (\"a\": Permission denied, ..)"
        );
        assert_eq!(
            torn.warning().unwrap(),
            "3 files changed or went missing while they were read (\"db/main.sqlite\", \"a \"b\"\", ..); a database among them may not open"
        );
        assert!(dumped.warning().unwrap().ends_with("restored from its dump, which is whole"));
        assert_eq!(
            (torn.torn_files(), dumped.torn_files()),
            (3, 3),
            "there may be another database"
        );
    }
}
