//! The functions that the core gives to scripts. Each namespace has a file.
//!
//! A primitive is finished when it has a doc with an example and a line in the reference. The tests
//! run every example. A primitive that can fail returns [`call::Returned`], and its doc has a
//! sentence "Fails with `code` where ..". A primitive that can't fail returns a plain value.

mod call;
mod comparison;
mod conditions;
mod config;
mod convoy;
mod docker;
mod log;
mod notify;
mod options;
mod parallel;
mod retention;
mod run;
mod standard;
#[cfg(test)]
mod tests;
mod time;

use std::sync::LazyLock;

use rhai::{Engine, Module, Shared, plugin::exported_module};

/// The namespaces of the primitives.
pub(crate) const NAMESPACES: [&str; 8] =
    ["convoy", "config", "docker", "log", "notify", "retention", "run", "time"];

/// The modules, made once and shared by all engines.
static MODULES: LazyLock<Vec<(&str, Shared<Module>)>> = LazyLock::new(|| {
    let modules = [
        ("convoy", convoy::module()),
        ("config", exported_module!(config::functions)),
        ("docker", exported_module!(docker::functions)),
        ("log", exported_module!(log::functions)),
        ("notify", exported_module!(notify::functions)),
        ("retention", exported_module!(retention::functions)),
        ("run", exported_module!(run::functions)),
        ("time", exported_module!(time::functions)),
    ];
    modules.into_iter().map(|(name, module)| (name, module.into())).collect()
});

/// Stricter versions of Rhai's own functions and operators, which the reference leaves out.
static STRICT: LazyLock<[Shared<Module>; 2]> =
    LazyLock::new(|| [comparison::module().into(), exported_module!(conditions::functions).into()]);

static GLOBAL: LazyLock<[Shared<Module>; 2]> = LazyLock::new(|| {
    [exported_module!(standard::functions).into(), exported_module!(parallel::functions).into()]
});

/// Makes an engine throw where Rhai would take what has no meaning for `false`.
pub(crate) fn register_strict(engine: &mut Engine) {
    // With Rhai's "fast operators", an engine never asks for a registered operator.
    engine.set_fast_operators(false);
    for module in STRICT.iter() {
        engine.register_global_module(Shared::clone(module));
    }
}

/// Registers all primitives with an engine.
pub(crate) fn register(engine: &mut Engine) {
    for module in GLOBAL.iter() {
        engine.register_global_module(Shared::clone(module));
    }
    for (name, module) in MODULES.iter() {
        engine.register_static_module(name, Shared::clone(module));
    }
}
