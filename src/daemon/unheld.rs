//! The first reading of a volume whose writers are to be held: all of it is read, which takes longer
//! than anything may be held. So it is read without a hold first, and then only what changed since.

use jiff::Timestamp;

use super::{
    moment::{Files, Still},
    repository::OpenRepository,
    save::{self, Extras, Parent, Source},
};
use crate::{error::Result, progress::Piece, scope};

/// What is to be read with a hold: of a source without a parent, this reads all without one first.
///
/// # Errors
/// As [`save::save`].
pub(super) fn first_without_a_hold<'a>(
    repository: &OpenRepository,
    source: Source<'a>,
    piece: &dyn Piece,
) -> Result<Source<'a>> {
    let Source { files, volume, parent, extras } = source;
    if parent.is_some() || !files.still.is_some_and(Still::is_wanted) {
        return Ok(source);
    }
    let begun = Timestamp::now();
    let files_only = Source { extras: Extras::default(), ..source };
    let unheld = Source { files: Files { still: None, ..files }, ..files_only };
    let tree = save::save(repository, unheld, piece, &scope::is_ended)?.tree;
    Ok(Source { files, volume, parent: Some(Parent { tree, begun }), extras })
}
