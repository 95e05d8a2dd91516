//! Where Convoy keeps a backup within its object store, and what its description says. All paths
//! are relative to the folder [`FOLDER`] of a destination.
//!
//! ```text
//! volumes/<name[0..2]>/<name[2..4]>/<name>/
//!   backups/backup_<backup>.cfg    the description, JSON
//!   BackupFiles/<backup>.bak       vfs: a tar of the volume, packed with gzip
//!   blocks/<c[0..2]>/<c[2..4]>/<c>.blk
//!                                  devicemapper: a block of 2 MiB, packed with gzip; c is the
//!                                  first half of its SHA-512
//! ```

use std::{collections::BTreeSet, fmt};

use serde::Deserialize;

pub(super) use crate::convoy::object_store::FOLDER;
use crate::convoy::object_store::volume_folder_within;

/// The paths of one backup.
pub(super) struct Layout<'a> {
    backup: &'a str,
    volume: &'a str,
}

impl<'a> Layout<'a> {
    /// The paths of this backup of this volume. Both names are valid names of Convoy's.
    pub(super) const fn new(backup: &'a str, volume: &'a str) -> Self {
        Self { backup, volume }
    }

    /// The file with the backup's description.
    pub(super) fn description(&self) -> String {
        format!("{}/backups/backup_{}.cfg", self.volume_folder(), self.backup)
    }

    /// The folder with the volume's blocks.
    pub(super) fn blocks(&self) -> String {
        format!("{}/blocks", self.volume_folder())
    }

    /// The file of one of the volume's blocks.
    pub(super) fn block(&self, checksum: &Checksum) -> String {
        let name = checksum.to_string();
        format!("{}/{}/{}/{name}.blk", self.blocks(), &name[..2], &name[2..4])
    }

    fn volume_folder(&self) -> String {
        volume_folder_within(self.volume)
    }
}

/// What a backup consists of.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Data {
    /// One file.
    File(String),
    /// Blocks, each once.
    Blocks(BTreeSet<Checksum>),
}

/// The first half of the SHA-512 of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Checksum(pub(super) [u8; 32]);

impl Checksum {
    fn parse(text: &str) -> Option<Self> {
        let mut bytes = [0; 32];
        if text.len() != 2 * bytes.len() || !text.is_ascii() {
            return None;
        }
        for (byte, digits) in bytes.iter_mut().zip(text.as_bytes().chunks(2)) {
            *byte = u8::from_str_radix(str::from_utf8(digits).ok()?, 16).ok()?;
        }
        let checksum = Self(bytes);
        // The file is named in the spelling of the description.
        (checksum.to_string() == text).then_some(checksum)
    }
}

impl fmt::Display for Checksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Description {
    name: String,
    volume_name: String,
    blocks: Option<Vec<Block>>,
    single_file: Option<SingleFile>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Block {
    block_checksum: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct SingleFile {
    #[serde(default)]
    file_path: String,
}

/// Reads a backup's description.
///
/// # Errors
/// What is wrong with it, as what can be said of the backup.
pub(super) fn data(description: &[u8], layout: &Layout<'_>) -> Result<Data, String> {
    let description: Description = serde_json::from_slice(description)
        .map_err(|error| format!("its description can't be read: {error}"))?;
    if description.name != layout.backup || description.volume_name != layout.volume {
        return Err(format!(
            "its description is that of the backup \"{}\" of \"{}\"",
            description.name, description.volume_name
        ));
    }
    let file = description.single_file.map(|file| file.file_path).filter(|path| !path.is_empty());
    let blocks = description.blocks.unwrap_or_default();
    match file {
        Some(path) => match within_the_store(&path) {
            Some(path) => Ok(Data::File(path.to_owned())),
            None => Err(format!("its description names a file elsewhere: \"{path}\"")),
        },
        None if blocks.is_empty() => Err("its description names no data".to_owned()),
        None => {
            let parse = |block: Block| {
                Checksum::parse(&block.block_checksum).ok_or_else(|| {
                    format!("its description has the wrong checksum \"{}\"", block.block_checksum)
                })
            };
            Ok(Data::Blocks(blocks.into_iter().map(parse).collect::<Result<_, _>>()?))
        }
    }
}

/// The path within [`FOLDER`]; `None` if the path leads elsewhere.
fn within_the_store(path: &str) -> Option<&str> {
    let inner = path.strip_prefix(FOLDER)?.strip_prefix('/')?;
    let is_plain = |part: &str| !matches!(part, "" | "." | "..");
    (inner.split('/').all(is_plain) && !inner.contains(char::is_control)).then_some(inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(description: &str) -> Result<Data, String> {
        data(description.as_bytes(), &Layout::new("backup-1", "vol1"))
    }

    fn with_file(path: &str) -> String {
        format!(
            r#"{{"Name":"backup-1","Driver":"","VolumeName":"vol1","SnapshotName":"s","SnapshotCreatedAt":"","CreatedTime":"",
            "Blocks":null,"SingleFile":{{"FilePath":{}}}}}"#,
            serde_json::to_string(path).unwrap()
        )
    }

    #[test]
    fn a_backup_is_where_convoy_puts_it() {
        let long = Layout::new("backup-1", "vol1");
        assert_eq!(long.description(), "volumes/vo/l1/vol1/backups/backup_backup-1.cfg");
        let checksum = Checksum([0xab; 32]);
        let name = "ab".repeat(32);
        assert_eq!(long.block(&checksum), format!("volumes/vo/l1/vol1/blocks/ab/ab/{name}.blk"));
        // Convoy fills up short names.
        let short = Layout::new("backup-1", "db");
        assert_eq!(short.description(), "volumes/db/!!/db!!/backups/backup_backup-1.cfg");
        assert_eq!(Layout::new("b1", "abc").blocks(), "volumes/ab/c!/abc!/blocks");
    }

    #[test]
    fn a_description_names_a_file_or_blocks() {
        let path = "volumes/vo/l1/vol1/BackupFiles/backup-1.bak";
        let file = parse(&with_file(&format!("convoy-objectstore/{path}"))).unwrap();
        assert_eq!(file, Data::File(path.to_owned()));
        let (a, b) = ("0a".repeat(32), "0b".repeat(32));
        let blocks = format!(
            r#"{{"Name":"backup-1","VolumeName":"vol1","Blocks":[{{"Offset":0,"BlockChecksum":"{a}"}},{{"Offset":2097152,"BlockChecksum":"{b}"}},
            {{"Offset":4194304,"BlockChecksum":"{a}"}}],"SingleFile":{{"FilePath":""}}}}"#
        );
        let expected = BTreeSet::from([Checksum([0x0a; 32]), Checksum([0x0b; 32])]);
        assert_eq!(parse(&blocks).unwrap(), Data::Blocks(expected));
    }

    #[test]
    fn a_wrong_description_names_no_data() {
        let block = |checksum: &str| {
            format!(
                r#"{{"Name":"backup-1","VolumeName":"vol1","Blocks":[{{"BlockChecksum":"{checksum}"}}]}}"#
            )
        };
        for (description, why) in [
            (String::new(), "can't be read"),
            ("[]".to_owned(), "can't be read"),
            (with_file("x").replace("backup-1", "backup-2"), "is that of the backup \"backup-2\""),
            (with_file("x").replace("vol1", "vol2"), "of \"vol2\""),
            (with_file(""), "names no data"),
            (with_file("/etc/shadow"), "elsewhere"),
            (with_file("convoy-objectstore/../../etc/shadow"), "elsewhere"),
            (with_file("convoy-objectstore//x"), "elsewhere"),
            (with_file("convoy-objectstore"), "elsewhere"),
            (with_file("convoy-objectstorex/y"), "elsewhere"),
            (block("../../../../x"), "wrong checksum"),
            (block(&"0A".repeat(32)), "wrong checksum"),
            (block(&"+1".repeat(32)), "wrong checksum"),
            (block(&"é".repeat(32)), "wrong checksum"),
        ] {
            let error = parse(&description).unwrap_err();
            assert!(error.contains(why), "{description}: {error}");
        }
    }
}
