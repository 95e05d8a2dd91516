//! `parallel`: one function for many items, several at a time.

use std::sync::{
    Mutex,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use rhai::plugin::*;
use rhai::{Array, EvalAltResult, FnPtr, INT, Map};

use super::call::{Returned, run_of};
use crate::{
    error::{Error, ErrorKind},
    scope,
    script::{
        captures,
        limits::STACK_BYTES,
        thrown::{raise, thrown},
    },
    sync::lock,
};

#[export_module]
pub(crate) mod functions {
    /// Calls a function for each item, at most `limit` at a time, each on its own thread, and
    /// returns the results in the order of the items. After a call fails, no further call begins;
    /// when the running ones have ended, the first failure is thrown. To go on after a failure,
    /// catch it inside the function. The function can't change a variable from outside: each thread
    /// has its own copy. A run has at most 16 such threads at a time. Fails with `script` where the
    /// limit is less than 1 or the function changes a variable from outside, and with what the
    /// first failed call threw.
    ///
    /// ```rhai
    /// let names = convoy::volumes().map(|volume| volume.Name);
    /// let counts = parallel(names, 4, |name| convoy::snapshots(name).len());
    /// ```
    #[rhai_fn(volatile, return_raw)]
    pub(crate) fn parallel(
        ctx: NativeCallContext,
        items: Array,
        limit: INT,
        action: FnPtr,
    ) -> Returned<Array> {
        each(&ctx, items, limit, &action)
    }
}

fn each(ctx: &NativeCallContext<'_>, items: Array, limit: INT, action: &FnPtr) -> Returned<Array> {
    let position = ctx.call_position();
    let run = raise(run_of(ctx), position)?;
    let limit = match usize::try_from(limit) {
        Ok(limit) if limit > 0 => limit,
        _ => {
            let error = Error::new(
                ErrorKind::Script,
                format!("parallel can't do {limit} items at a time: 1 is the least"),
            );
            return Err(thrown(&error, position));
        }
    };
    let next = AtomicUsize::new(0);
    let failed = AtomicBool::new(false);
    type Slot = Mutex<Option<Result<Dynamic, Box<EvalAltResult>>>>;
    let results: Vec<Slot> = items.iter().map(|_| Mutex::new(None)).collect();
    let items: Vec<Mutex<Dynamic>> = items
        .into_iter()
        .map(|mut item| {
            freeze_captures(&mut item);
            Mutex::new(item)
        })
        .collect();
    let work = || {
        let mut action = action.clone();
        freeze(&mut action);
        while !failed.load(Ordering::Relaxed) {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(item) = items.get(index) else { break };
            let item = std::mem::take(&mut *lock(item));
            let result = action
                .call_within_context::<Dynamic>(ctx, (item,))
                .map_err(|error| refused(*error).into());
            failed.fetch_or(result.is_err(), Ordering::Relaxed);
            *lock(&results[index]) = Some(result);
        }
    };
    // This thread works too. If no other thread is available, as deep inside nested calls, it does
    // all the work.
    let threads = run.take_threads(limit.min(items.len()).saturating_sub(1));
    std::thread::scope(|threads_scope| {
        for _ in 0..threads {
            let thread =
                std::thread::Builder::new().name(run.script.clone()).stack_size(STACK_BYTES);
            let log_scope = scope::current();
            if thread.spawn_scoped(threads_scope, || scope::within(log_scope, work)).is_err() {
                break;
            }
        }
        work();
    });
    run.return_threads(threads);
    let results: Vec<_> = results
        .into_iter()
        .filter_map(|slot| slot.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner))
        .collect();
    if let Some(end) = run.end() {
        return Err(thrown(&end.error(), position));
    }
    results.into_iter().collect()
}

/// Gives a function its own copies of the variables that it captured, and makes them constant.
/// Otherwise threads would share them, and would overwrite each other's changes.
fn freeze(function: &mut FnPtr) {
    for captured in function.iter_curry_mut() {
        let is_shared = captured.is_shared();
        let mut copy = captured.flatten_clone();
        freeze_captures(&mut copy);
        *captured = if is_shared { copy.into_read_only().into_shared() } else { copy };
    }
}

/// Freezes what the functions in a value captured.
fn freeze_captures(value: &mut Dynamic) {
    if let Some(mut function) = value.write_lock::<FnPtr>() {
        freeze(&mut function);
    } else if let Some(mut array) = value.write_lock::<Array>() {
        array.iter_mut().for_each(freeze_captures);
    } else if let Some(mut map) = value.write_lock::<Map>() {
        map.values_mut().for_each(freeze_captures);
    }
}

/// Explains a change of a frozen variable. Other errors stay as they are.
fn refused(error: EvalAltResult) -> EvalAltResult {
    match error {
        EvalAltResult::ErrorInFunctionCall(name, source, inner, position) => {
            EvalAltResult::ErrorInFunctionCall(name, source, refused(*inner).into(), position)
        }
        EvalAltResult::ErrorInModule(name, inner, position) => {
            EvalAltResult::ErrorInModule(name, refused(*inner).into(), position)
        }
        EvalAltResult::ErrorAssignmentToConstant(name, position) => {
            *thrown(&captures::refusal(&format!("\"{name}\"")), position)
        }
        EvalAltResult::ErrorNonPureMethodCallOnConstant(method, position) => {
            *thrown(&captures::refusal(&format!("a variable by \"{method}\"")), position)
        }
        other => other,
    }
}
