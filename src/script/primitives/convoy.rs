//! `convoy::`: the volume daemon, behind the guards. Each subject has a file.

mod backups;
mod chosen;
mod destination;
mod removal;
mod snapshots;
mod volumes;

use rhai::{
    Module,
    plugin::{combine_with_exported_module, exported_module},
};

/// All functions of the namespace.
pub(super) fn module() -> Module {
    let mut module = exported_module!(volumes::functions);
    combine_with_exported_module!(&mut module, "snapshots", snapshots::functions);
    combine_with_exported_module!(&mut module, "backups", backups::functions);
    combine_with_exported_module!(&mut module, "chosen", chosen::functions);
    module
}
