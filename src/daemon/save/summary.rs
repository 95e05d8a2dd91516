//! What restic tells of a snapshot.

use jiff::Zoned;
use rustic_core::repofile::{BlobType, SnapshotSummary};

use super::{
    blob_writer::{Added, BlobWriter},
    counts::Counter,
    run::Run,
};

/// What restic tells of a snapshot.
pub(super) fn of(run: &Run<'_>, started: Zoned) -> SnapshotSummary {
    let (files, folders) = (&run.counts.files, &run.counts.folders);
    let ended = Zoned::now();
    let seconds = ended.duration_since(&started).as_secs_f64();
    let mut told = SnapshotSummary::default();
    told.files_new = files.new.get();
    told.files_changed = files.changed.get();
    told.files_unmodified = files.unchanged.get();
    told.total_files_processed = files.all();
    told.total_bytes_processed = run.counts.bytes.get();
    told.dirs_new = folders.new.get();
    told.dirs_changed = folders.changed.get();
    told.dirs_unmodified = folders.unchanged.get();
    told.total_dirs_processed = folders.all();
    told.total_dirsize_processed = run.counts.bytes_of_folders.get();
    set_added(&mut told, run.blobs);
    told.backup_start = started;
    told.backup_end = ended;
    told.backup_duration = seconds;
    told.total_duration = seconds;
    told
}

/// Says what was written.
pub(super) fn set_added(told: &mut SnapshotSummary, blobs: &BlobWriter<'_>) {
    let number = |kind, of: fn(&Added) -> &Counter| of(blobs.added(kind)).get();
    let [data, trees] = [BlobType::Data, BlobType::Tree];
    let (raw, packed) = (number(data, |it| &it.raw), number(data, |it| &it.packed));
    let (raw_trees, packed_trees) = (number(trees, |it| &it.raw), number(trees, |it| &it.packed));
    told.data_blobs = number(data, |it| &it.blobs);
    told.tree_blobs = number(trees, |it| &it.blobs);
    told.data_added = raw + raw_trees;
    told.data_added_packed = packed + packed_trees;
    told.data_added_files = raw;
    told.data_added_files_packed = packed;
    told.data_added_trees = raw_trees;
    told.data_added_trees_packed = packed_trees;
}

/// Adds what an earlier reading of the same run wrote, and found new or changed.
pub(super) fn add(told: &mut SnapshotSummary, earlier: &SnapshotSummary) {
    told.data_blobs += earlier.data_blobs;
    told.tree_blobs += earlier.tree_blobs;
    told.data_added += earlier.data_added;
    told.data_added_packed += earlier.data_added_packed;
    told.data_added_files += earlier.data_added_files;
    told.data_added_files_packed += earlier.data_added_files_packed;
    told.data_added_trees += earlier.data_added_trees;
    told.data_added_trees_packed += earlier.data_added_trees_packed;
    told.backup_start.clone_from(&earlier.backup_start);
    told.backup_duration += earlier.backup_duration;
    told.total_duration += earlier.total_duration;
    // What the last one found as the one before had it, is as that found it.
    let unchanged = |all: u64, new: u64, changed: u64| all.saturating_sub(new + changed);
    told.files_new = (told.files_new + earlier.files_new).min(told.total_files_processed);
    told.files_changed += earlier.files_changed;
    let of = (told.total_files_processed, told.files_new, told.files_changed);
    told.files_unmodified = unchanged(of.0, of.1, of.2);
    told.dirs_new = (told.dirs_new + earlier.dirs_new).min(told.total_dirs_processed);
    told.dirs_changed += earlier.dirs_changed;
    let of = (told.total_dirs_processed, told.dirs_new, told.dirs_changed);
    told.dirs_unmodified = unchanged(of.0, of.1, of.2);
}
