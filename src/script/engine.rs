//! The one place that builds an engine: its limits, its packages, and what a script may not do.

use std::sync::{Arc, LazyLock};

use rhai::{
    Dynamic, Engine, ModuleResolver, OptimizationLevel, Token,
    module_resolvers::DummyModuleResolver,
    packages::{Package, StandardPackage},
};

use super::{
    limits::{
        MAX_ARRAY_ELEMENTS, MAX_CALL_LEVELS, MAX_EXPRESSION_DEPTH, MAX_FUNCTIONS, MAX_MAP_ENTRIES,
        MAX_MODULES, MAX_OPERATIONS, MAX_STRING_BYTES, MAX_VARIABLES,
    },
    primitives,
    running::{RunTag, RunningScript},
};

/// Rhai's standard functions, made once. Making them costs a hundred times as much as making an
/// engine.
static STANDARD: LazyLock<StandardPackage> = LazyLock::new(StandardPackage::new);

/// An engine that can parse scripts but not run them.
pub(crate) fn for_compiling() -> Engine {
    let mut engine = Engine::new_raw();
    // Nothing in a script may be evaluated or rewritten before it runs.
    engine.set_optimization_level(OptimizationLevel::None);
    engine.set_strict_variables(true);
    engine.set_fail_on_invalid_map_property(true);
    engine.disable_symbol("eval");
    engine.set_max_operations(MAX_OPERATIONS);
    engine.set_max_call_levels(MAX_CALL_LEVELS);
    engine.set_max_expr_depths(MAX_EXPRESSION_DEPTH, MAX_EXPRESSION_DEPTH);
    engine.set_max_string_size(MAX_STRING_BYTES);
    engine.set_max_array_size(MAX_ARRAY_ELEMENTS);
    engine.set_max_map_size(MAX_MAP_ENTRIES);
    engine.set_max_variables(MAX_VARIABLES);
    engine.set_max_functions(MAX_FUNCTIONS);
    engine.set_max_modules(MAX_MODULES);
    engine.set_module_resolver(DummyModuleResolver::new());
    plain_words(&mut engine);
    STANDARD.register_into_engine(&mut engine);
    primitives::register(&mut engine);
    engine
}

/// Allows `default` as the key of a map, and `debug` as a function of `log::`. Rhai reserves both
/// words.
#[expect(
    deprecated,
    reason = "not deprecated but \"volatile\", which is how Rhai marks what may change"
)]
fn plain_words(engine: &mut Engine) {
    engine.on_parse_token(|token, _, _| match token {
        Token::Reserved(word) if matches!(word.as_str(), "default" | "debug") => {
            Token::Identifier(word)
        }
        other => other,
    });
}

/// An engine for one run, which resolves imports with `resolver`.
pub(crate) fn for_run(run: &Arc<RunningScript>, resolver: impl ModuleResolver + 'static) -> Engine {
    let mut engine = for_compiling();
    primitives::register_strict(&mut engine);
    engine.set_module_resolver(resolver);
    engine.set_default_tag(Dynamic::from(RunTag(Arc::clone(run))));
    let stepping = Arc::clone(run);
    engine.on_progress(move |_| stepping.step().map(Dynamic::from));
    let printing = Arc::clone(run);
    engine.on_print(move |text| printing.log(log::Level::Info, text));
    let debugging = Arc::clone(run);
    engine.on_debug(move |text, _, _| debugging.log(log::Level::Debug, text));
    engine
}
