//! Settings of what is left out of volumes.

use super::{
    settings::{BKUP_EXCLUDE, BKUP_EXCLUDE_CACHES, BKUP_EXCLUDE_IF_PRESENT, BKUP_ONE_FILE_SYSTEM},
    values::Values,
};
use crate::{
    error::Result,
    exclude::{Excludes, Marker},
};

/// # Errors
/// If a value is wrong.
pub(super) fn read(values: &Values) -> Result<Excludes> {
    let mut markers = values.read(&BKUP_EXCLUDE_IF_PRESENT)?.unwrap_or_default();
    if values.require(&BKUP_EXCLUDE_CACHES)? {
        markers.push(Marker::of_caches());
    }
    Ok(Excludes {
        patterns: values.read(&BKUP_EXCLUDE)?.unwrap_or_default(),
        markers,
        one_file_system: values.require(&BKUP_ONE_FILE_SYSTEM)?,
    })
}
