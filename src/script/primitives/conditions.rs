//! Replacements for Rhai's functions that take a condition or a comparer. Rhai's own take anything
//! but `true` for `false`, and an error of a comparer for equality. A forgotten `return` would
//! silently choose nothing.

use std::cmp::Ordering;

use rhai::plugin::*;
use rhai::{Array, FnPtr, INT, Map};

use super::call::Returned;
use crate::{
    error::{Error, ErrorKind},
    script::thrown::thrown,
};

#[export_module]
#[expect(
    clippy::unwrap_used,
    reason = "what the macro makes of a `&mut` parameter, whose type it has checked"
)]
pub(crate) mod functions {
    #[rhai_fn(return_raw, pure)]
    pub(crate) fn filter(
        ctx: NativeCallContext,
        array: &mut Array,
        condition: FnPtr,
    ) -> Returned<Array> {
        let mut chosen = Array::new();
        for (index, item) in array.iter_mut().enumerate() {
            if holds(&ctx, "filter", &condition, item, index)? {
                chosen.push(item.clone());
            }
        }
        Ok(chosen)
    }

    #[rhai_fn(return_raw, pure)]
    pub(crate) fn some(
        ctx: NativeCallContext,
        array: &mut Array,
        condition: FnPtr,
    ) -> Returned<bool> {
        Ok(first(&ctx, "some", array, &condition, 0)?.is_some())
    }

    #[rhai_fn(return_raw, pure)]
    pub(crate) fn all(
        ctx: NativeCallContext,
        array: &mut Array,
        condition: FnPtr,
    ) -> Returned<bool> {
        for (index, item) in array.iter_mut().enumerate() {
            if !holds(&ctx, "all", &condition, item, index)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    #[rhai_fn(return_raw, pure)]
    pub(crate) fn find(
        ctx: NativeCallContext,
        array: &mut Array,
        condition: FnPtr,
    ) -> Returned<Dynamic> {
        find_from(ctx, array, condition, 0)
    }

    #[rhai_fn(name = "find", return_raw, pure)]
    pub(crate) fn find_from(
        ctx: NativeCallContext,
        array: &mut Array,
        condition: FnPtr,
        start: INT,
    ) -> Returned<Dynamic> {
        let found = first(&ctx, "find", array, &condition, start)?;
        Ok(found.and_then(|index| array.get(index).cloned()).unwrap_or_default())
    }

    #[rhai_fn(name = "index_of", return_raw, pure)]
    pub(crate) fn index_of(
        ctx: NativeCallContext,
        array: &mut Array,
        condition: FnPtr,
    ) -> Returned<INT> {
        index_of_from(ctx, array, condition, 0)
    }

    #[rhai_fn(name = "index_of", return_raw, pure)]
    pub(crate) fn index_of_from(
        ctx: NativeCallContext,
        array: &mut Array,
        condition: FnPtr,
        start: INT,
    ) -> Returned<INT> {
        let found = first(&ctx, "index_of", array, &condition, start)?;
        Ok(found.and_then(|index| INT::try_from(index).ok()).unwrap_or(-1))
    }

    #[rhai_fn(return_raw)]
    pub(crate) fn retain(
        ctx: NativeCallContext,
        array: &mut Array,
        condition: FnPtr,
    ) -> Returned<Array> {
        let (kept, removed) = split(&ctx, "retain", array, &condition)?;
        *array = kept;
        Ok(removed)
    }

    #[rhai_fn(return_raw)]
    pub(crate) fn drain(
        ctx: NativeCallContext,
        array: &mut Array,
        condition: FnPtr,
    ) -> Returned<Array> {
        let (removed, kept) = split(&ctx, "drain", array, &condition)?;
        *array = kept;
        Ok(removed)
    }

    #[rhai_fn(return_raw)]
    pub(crate) fn dedup(
        ctx: NativeCallContext,
        array: &mut Array,
        comparer: FnPtr,
    ) -> Returned<()> {
        let mut kept = Array::new();
        for item in array.iter() {
            let is_same = match kept.last() {
                None => false,
                Some(last) => {
                    let answer = comparer.call_raw(&ctx, None, [last.clone(), item.clone()])?;
                    true_or_false(&ctx, "dedup", &answer)?
                }
            };
            if !is_same {
                kept.push(item.clone());
            }
        }
        *array = kept;
        Ok(())
    }

    #[rhai_fn(name = "sort", name = "sort_by", return_raw)]
    pub(crate) fn sort(ctx: NativeCallContext, array: &mut Array, comparer: FnPtr) -> Returned<()> {
        *array = order(ctx, array, comparer)?;
        Ok(())
    }

    #[rhai_fn(name = "order", name = "order_by", return_raw, pure)]
    pub(crate) fn order(
        ctx: NativeCallContext,
        array: &mut Array,
        comparer: FnPtr,
    ) -> Returned<Array> {
        merge_sort(array.clone(), &|left, right| order_of(&ctx, &comparer, left, right))
    }

    #[rhai_fn(name = "filter", return_raw, pure)]
    pub(crate) fn filter_map(
        ctx: NativeCallContext,
        map: &mut Map,
        condition: FnPtr,
    ) -> Returned<Map> {
        Ok(split_map(&ctx, "filter", map, &condition)?.0)
    }

    #[rhai_fn(name = "retain", return_raw)]
    pub(crate) fn retain_map(
        ctx: NativeCallContext,
        map: &mut Map,
        condition: FnPtr,
    ) -> Returned<Map> {
        let (kept, removed) = split_map(&ctx, "retain", map, &condition)?;
        *map = kept;
        Ok(removed)
    }

    #[rhai_fn(name = "drain", return_raw)]
    pub(crate) fn drain_map(
        ctx: NativeCallContext,
        map: &mut Map,
        condition: FnPtr,
    ) -> Returned<Map> {
        let (removed, kept) = split_map(&ctx, "drain", map, &condition)?;
        *map = kept;
        Ok(removed)
    }
}

/// Whether a condition holds for an element. The condition gets the element, as a parameter or as
/// `this`, and its index.
fn holds(
    ctx: &NativeCallContext<'_>,
    function: &str,
    condition: &FnPtr,
    item: &mut Dynamic,
    index: usize,
) -> Returned<bool> {
    let extra = [INT::try_from(index).unwrap_or(INT::MAX).into()];
    let answer =
        condition.call_raw_with_extra_args(function, ctx, Some(item), [], extra, Some(0))?;
    true_or_false(ctx, function, &answer)
}

fn true_or_false(ctx: &NativeCallContext<'_>, function: &str, answer: &Dynamic) -> Returned<bool> {
    answer.as_bool().map_err(|_| {
        let shown = if answer.is_unit() { "nothing".to_owned() } else { answer.to_string() };
        let error = Error::new(
            ErrorKind::Script,
            format!("the function for \"{function}\" must give true or false, not {shown}"),
        )
        .with_hint("the last expression of the function is its answer, such as |backup| backup.VolumeName == \"vol1\"");
        thrown(&error, ctx.call_position())
    })
}

/// The index of the first element, from a start on, for which the condition holds. A negative start
/// counts from the end.
fn first(
    ctx: &NativeCallContext<'_>,
    function: &str,
    array: &mut Array,
    condition: &FnPtr,
    start: INT,
) -> Returned<Option<usize>> {
    let offset = usize::try_from(start.unsigned_abs()).unwrap_or(usize::MAX);
    let skipped = if start < 0 { array.len().saturating_sub(offset) } else { offset };
    for (index, item) in array.iter_mut().enumerate().skip(skipped) {
        if holds(ctx, function, condition, item, index)? {
            return Ok(Some(index));
        }
    }
    Ok(None)
}

/// The elements for which the condition holds, and the others.
fn split(
    ctx: &NativeCallContext<'_>,
    function: &str,
    array: &mut Array,
    condition: &FnPtr,
) -> Returned<(Array, Array)> {
    let (mut chosen, mut others) = (Array::new(), Array::new());
    for (index, item) in array.iter_mut().enumerate() {
        let side =
            if holds(ctx, function, condition, item, index)? { &mut chosen } else { &mut others };
        side.push(item.clone());
    }
    Ok((chosen, others))
}

/// The entries for which the condition holds, and the others. The condition gets the key and the
/// value.
fn split_map(
    ctx: &NativeCallContext<'_>,
    function: &str,
    map: &mut Map,
    condition: &FnPtr,
) -> Returned<(Map, Map)> {
    let (mut chosen, mut others) = (Map::new(), Map::new());
    for (key, value) in map.iter_mut() {
        let answer = condition.call_raw_with_extra_args(
            function,
            ctx,
            Some(value),
            [key.into()],
            [],
            Some(1),
        )?;
        let side = if true_or_false(ctx, function, &answer)? { &mut chosen } else { &mut others };
        side.insert(key.clone(), value.clone());
    }
    Ok((chosen, others))
}

/// The order of two elements. A comparer answers with a number, or with `true` where the first
/// element comes first.
fn order_of(
    ctx: &NativeCallContext<'_>,
    comparer: &FnPtr,
    left: &Dynamic,
    right: &Dynamic,
) -> Returned<Ordering> {
    let answer = comparer.call_raw(ctx, None, [left.clone(), right.clone()])?;
    match (answer.as_int(), answer.as_bool()) {
        (Ok(number), _) => Ok(number.cmp(&0)),
        (_, Ok(true)) => Ok(Ordering::Less),
        (_, Ok(false)) => Ok(Ordering::Greater),
        _ => {
            let error = Error::new(
                ErrorKind::Script,
                "the function for \"sort\" must give a number, or true or false",
            )
            .with_hint("such as |a, b| a.BackupSizeBytes - b.BackupSizeBytes");
            Err(thrown(&error, ctx.call_position()))
        }
    }
}

/// Sorts by a comparer that may fail, and that may contradict itself. The sort of Rust's library
/// panics at a contradiction.
fn merge_sort(
    mut items: Array,
    compare: &impl Fn(&Dynamic, &Dynamic) -> Returned<Ordering>,
) -> Returned<Array> {
    if items.len() < 2 {
        return Ok(items);
    }
    let upper = items.split_off(items.len() / 2);
    let mut left = merge_sort(items, compare)?.into_iter().peekable();
    let mut right = merge_sort(upper, compare)?.into_iter().peekable();
    let mut merged = Array::new();
    while let (Some(x), Some(y)) = (left.peek(), right.peek()) {
        let next = if compare(x, y)? == Ordering::Greater { right.next() } else { left.next() };
        merged.extend(next);
    }
    merged.extend(left);
    merged.extend(right);
    Ok(merged)
}
