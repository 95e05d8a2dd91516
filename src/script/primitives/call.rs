//! What every primitive does: finds its run, works, and gives values and errors in Rhai's form.

use std::sync::Arc;

use rhai::{Dynamic, EvalAltResult, Map, NativeCallContext};
use serde::Serialize;

use crate::{
    error::{Error, Result},
    script::{
        run::{Run, RunTag},
        thrown::{raise, script_types},
    },
};

/// What a primitive returns to Rhai.
pub(super) type Returned<T> = std::result::Result<T, Box<EvalAltResult>>;

/// The run that a primitive was called in.
pub(super) fn run_of(context: &NativeCallContext<'_>) -> Result<Arc<Run>> {
    let tag = context.tag().and_then(|tag| tag.clone().try_cast::<RunTag>());
    tag.map(|tag| tag.0).ok_or_else(|| Error::internal("a primitive was called outside of a run"))
}

/// What a primitive does that can fail: work for the run, and an error at the place of the call.
pub(super) fn call<T>(
    context: &NativeCallContext<'_>,
    work: impl FnOnce(&Run) -> Result<T>,
) -> Returned<T> {
    raise(run_of(context).and_then(|run| work(&run)), context.call_position())
}

/// What a primitive that can't fail does: work for the run. Outside of a run, where no script can
/// be, the result is the default.
pub(super) fn call_surely<T: Default>(
    context: &NativeCallContext<'_>,
    work: impl FnOnce(&Run) -> T,
) -> T {
    run_of(context).map_or_else(|_| T::default(), |run| work(&run))
}

/// A value of the daemon's, under the daemon's own names.
pub(super) fn to_script<T: Serialize>(value: T) -> Result<Dynamic> {
    rhai::serde::to_dynamic(value).map_err(|error| Error::internal(error.to_string()))
}

pub(super) fn to_map<T: Serialize>(value: T) -> Result<Map> {
    to_script(value)?.try_cast().ok_or_else(|| Error::internal("the daemon's answer is no map"))
}

/// A value that must be a string.
pub(super) fn string(value: &Dynamic, what: &str) -> Result<String> {
    value.clone().into_string().map_err(|found| {
        Error::usage(format!("the {what} must be a string, not {}", script_types(found)))
    })
}
