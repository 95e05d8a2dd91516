//! What every primitive does: it finds its run, works, and converts values and errors to Rhai's
//! form.

use std::sync::Arc;

use rhai::{Dynamic, EvalAltResult, Map, NativeCallContext};
use serde::Serialize;

use crate::{
    error::{Error, Result},
    script::{
        running::{RunTag, RunningScript},
        sizes,
        thrown::raise,
        type_names::script_type,
    },
};

/// What a primitive returns to Rhai.
pub(super) type Returned<T> = std::result::Result<T, Box<EvalAltResult>>;

/// The run that called the primitive.
pub(super) fn run_of(context: &NativeCallContext<'_>) -> Result<Arc<RunningScript>> {
    let tag = context.tag().and_then(|tag| tag.clone().try_cast::<RunTag>());
    tag.map(|tag| tag.0).ok_or_else(|| Error::internal("a primitive was called outside of a run"))
}

/// Runs the work of a primitive that can fail. The error gets the place of the call.
pub(super) fn call<T>(
    context: &NativeCallContext<'_>,
    work: impl FnOnce(&RunningScript) -> Result<T>,
) -> Returned<T> {
    raise(run_of(context).and_then(|run| work(&run)), context.call_position())
}

/// Runs the work of a primitive that can't fail. Outside a run, where no script can be, the result
/// is the default.
pub(super) fn call_surely<T: Default>(
    context: &NativeCallContext<'_>,
    work: impl FnOnce(&RunningScript) -> T,
) -> T {
    run_of(context).map_or_else(|_| T::default(), |run| work(&run))
}

/// Converts a value of the daemon, with the daemon's own field names, and adds its sizes as
/// numbers.
pub(super) fn to_script<T: Serialize>(value: T) -> Result<Dynamic> {
    let mut value =
        rhai::serde::to_dynamic(value).map_err(|error| Error::internal(error.to_string()))?;
    sizes::add_numbers(&mut value);
    Ok(value)
}

pub(super) fn to_map<T: Serialize>(value: T) -> Result<Map> {
    to_script(value)?.try_cast().ok_or_else(|| Error::internal("the daemon's answer is no map"))
}

/// The value as a string; an error if it is not one.
pub(super) fn string(value: &Dynamic, what: &str) -> Result<String> {
    value.clone().into_string().map_err(|found| {
        Error::usage(format!("the {what} must be a string, not {}", script_type(found)))
    })
}
