//! The one place that builds an engine: its limits, its packages, what it may not do.

use std::sync::{Arc, LazyLock};

use rhai::{
    Dynamic, Engine, OptimizationLevel, Token,
    module_resolvers::DummyModuleResolver,
    packages::{Package, StandardPackage},
};

use super::{
    host::{Run, RunTag},
    primitives,
    resolver::Resolver,
};

/// Steps of a script, all its threads together: some ten seconds of pure computing, where a run
/// over 1,000 volumes takes about a million.
pub(crate) const MAX_OPERATIONS: u64 = 500_000_000;
/// Functions inside functions.
const MAX_CALL_LEVELS: usize = 64;
/// Expressions inside expressions.
const MAX_EXPRESSION_DEPTH: usize = 64;
/// Bytes of text in one value, nested ones counted: the snapshots of thousands of volumes fit.
/// Values are limited each, not together, so that this times [`MAX_VARIABLES`] is what one function
/// can hold.
const MAX_STRING_BYTES: usize = 16 << 20;
/// Elements of one array, nested ones counted.
const MAX_ARRAY_ELEMENTS: usize = 200_000;
/// Entries of one map, nested ones counted.
const MAX_MAP_ENTRIES: usize = 1_000_000;
/// Variables alive at once in one function.
const MAX_VARIABLES: usize = 200;
/// Functions that a script defines.
const MAX_FUNCTIONS: usize = 500;
/// Files that a run imports.
const MAX_MODULES: usize = 50;
/// Threads that the `parallel` calls of one run have together, besides its own.
pub(crate) const MAX_THREADS: usize = 16;
/// The stack of a thread that runs a script: enough for the deepest calls of the deepest
/// expressions, and for arrays nested as deep as they may be. Only what is used of it is memory.
pub(crate) const STACK_BYTES: usize = 128 << 20;

/// Rhai's own functions, made once: making them costs a hundred times what an engine does.
static STANDARD: LazyLock<StandardPackage> = LazyLock::new(StandardPackage::new);

/// An engine that parses scripts and can't run them.
pub(crate) fn for_compiling() -> Engine {
    let mut engine = Engine::new_raw();
    // Nothing of a script may run, or be changed, before it is asked for.
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

/// Lets `default` be the key of a map, and `debug` a function of `log::`: both are words that Rhai
/// keeps for itself.
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

/// An engine for one run.
pub(crate) fn for_run(run: &Arc<Run>, resolver: Resolver) -> Engine {
    let mut engine = for_compiling();
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
