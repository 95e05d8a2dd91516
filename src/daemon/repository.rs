//! Restic-format repositories: opening one ([`open`]), the password and names it is opened with
//! ([`access`]) and made with ([`key_file`]), its files as rustic reads them ([`backend`]), where
//! these files are ([`storage`]), or wait to get there ([`spool`]), what is in them ([`cipher`]; large
//! ones piece by piece, [`opened_blob`]), what it has ([`index`]), and reading that ([`reader`], [`snapshot_files`],
//! [`folder_entries`]), how large that may be ([`limits`]), what of it is lost ([`lost`], [`whole`]) and how
//! the index is mended ([`index_repair`], [`pack_header`]), and restic's own locks ([`restic_lock`], [`lock_content`]).
//!
//! This room knows no volumes, snapshots or backups.

mod access;
mod backend;
mod cipher;
mod folder_entries;
mod hex_hash;
mod index;
mod index_file;
mod index_repair;
mod key_file;
mod limits;
mod lock_content;
mod lost;
mod open;
mod opened_blob;
mod pack_header;
mod packing;
mod readable_index;
mod reader;
mod restic_lock;
mod snapshot_files;
mod spool;
mod storage;
mod whole;

pub(super) use access::{Access, tags};
pub(super) use backend::Backend;
pub(super) use cipher::{Coder, Hash, SealedBlob, hash};
pub(super) use folder_entries::FolderEntries;
pub(super) use hex_hash::HexHash;
pub(super) use index::{Index, Location, UnreadFile};
pub(super) use index_file::pack_size;
pub(super) use lost::{Lost, LostPack};
pub(super) use open::{Gathering, Indexed, OpenRepository, failure, guarded};
pub(super) use reader::BlobReader;
pub(super) use restic_lock::{Beside, ResticLock};
pub(super) use snapshot_files::SnapshotFiles;
pub(super) use spool::{SpoolPlace, remove_left};
#[cfg(test)]
pub(super) use storage::{Act, Folder, Memory};
pub(super) use storage::{Bucket, Cached, Listed};
pub(super) use whole::Seen;
