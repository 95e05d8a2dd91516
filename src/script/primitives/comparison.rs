//! Comparisons without a meaning throw. Rhai answers `false` where it has no order for two types,
//! so that a policy which compares a text with a number would silently choose wrongly.

use std::any::TypeId;

use rhai::{
    Array, Blob, Dynamic, EvalAltResult, FLOAT, FnPtr, FuncRegistration, INT, ImmutableString,
    Instant, Map, Module, NativeCallContext, RhaiFunc, Shared,
};

use crate::{
    convoy::ApiTime,
    error::{Error, ErrorKind},
    script::thrown::thrown,
    text::{cut, escape},
    units::parse_duration,
};

/// The operators that ask for an order.
const OPERATORS: [&str; 4] = ["<", "<=", ">", ">="];

/// The widest value in a message, in columns.
const SHOWN_COLUMNS: usize = 40;

/// A type that a script's value can have.
struct Kind {
    id: TypeId,
    /// The type with its article, as messages have it.
    name: &'static str,
    /// Types of one group have an order. A type without a group has none, not even with itself.
    group: Option<&'static str>,
}

fn kinds() -> [Kind; 13] {
    fn kind<T: 'static>(name: &'static str, group: Option<&'static str>) -> Kind {
        Kind { id: TypeId::of::<T>(), name, group }
    }
    [
        kind::<()>("nothing", None),
        kind::<bool>("a boolean", Some("boolean")),
        kind::<INT>("a number", Some("number")),
        kind::<FLOAT>("a number", Some("number")),
        kind::<char>("a text", Some("text")),
        kind::<ImmutableString>("a text", Some("text")),
        kind::<Array>("an array", None),
        kind::<Blob>("bytes", None),
        kind::<Map>("a map", None),
        kind::<FnPtr>("a function", None),
        kind::<Instant>("a timestamp", Some("timestamp")),
        kind::<std::ops::Range<INT>>("a range", None),
        kind::<std::ops::RangeInclusive<INT>>("a range", None),
    ]
}

/// The operators for each pair of types that has no order, and for two texts. Other pairs keep
/// Rhai's operators. Rhai asks this module only without its "fast operators".
pub(super) fn module() -> Module {
    let mut module = Module::new();
    for operator in OPERATORS {
        for left in kinds() {
            for right in kinds() {
                if left.group.is_none() || left.group != right.group {
                    let names = (left.name, right.name);
                    register(&mut module, operator, [left.id, right.id], move |context, values| {
                        Err(refusal(context, operator, names, values))
                    });
                }
            }
        }
        let texts = [TypeId::of::<ImmutableString>(); 2];
        register(&mut module, operator, texts, move |context, values| {
            compare_texts(context, operator, values)
        });
    }
    module
}

fn register(
    module: &mut Module,
    operator: &'static str,
    types: [TypeId; 2],
    compare: impl Fn(&NativeCallContext<'_>, [&Dynamic; 2]) -> Result<bool, Box<EvalAltResult>>
    + Send
    + Sync
    + 'static,
) {
    let native = move |context: Option<NativeCallContext<'_>>, values: &mut [&mut Dynamic]| match (
        context, values,
    ) {
        (Some(context), [left, right]) => compare(&context, [left, right]).map(Dynamic::from),
        _ => Err("a comparison has two sides".into()),
    };
    FuncRegistration::new(operator).in_global_namespace().set_into_module_raw(
        module,
        types,
        RhaiFunc::Method {
            func: Shared::new(native),
            has_context: true,
            is_pure: true,
            is_volatile: true,
        },
    );
}

/// Compares two texts, unless both are times of the daemon's, which begin with the day of the week:
/// their order as texts is not their order as times.
fn compare_texts(
    context: &NativeCallContext<'_>,
    operator: &str,
    [left, right]: [&Dynamic; 2],
) -> Result<bool, Box<EvalAltResult>> {
    let (Ok(x), Ok(y)) = (left.as_immutable_string_ref(), right.as_immutable_string_ref()) else {
        return Ok(false);
    };
    if is_time(&x) && is_time(&y) {
        let error = Error::new(
            ErrorKind::Script,
            format!(
                "times as texts can't be compared: {}",
                shown_comparison(operator, [left, right])
            ),
        )
        .with_hint(OF_TIMES);
        return Err(thrown(&error, context.call_position()));
    }
    Ok(match operator {
        "<" => *x < *y,
        "<=" => *x <= *y,
        ">" => *x > *y,
        _ => *x >= *y,
    })
}

const OF_TIMES: &str = "time::parse makes a number of a time: time::parse(backup.CreatedTime) > time::now() - 7 * 86400";

fn refusal(
    context: &NativeCallContext<'_>,
    operator: &str,
    (left, right): (&str, &str),
    values: [&Dynamic; 2],
) -> Box<EvalAltResult> {
    let error = Error::new(
        ErrorKind::Script,
        format!("{left} can't be compared with {right}: {}", shown_comparison(operator, values)),
    )
    .with_hint(hint(values));
    thrown(&error, context.call_position())
}

/// What to do in place of the comparison.
fn hint(values: [&Dynamic; 2]) -> &'static str {
    if values.iter().any(|value| value.is_unit()) {
        return "ask first whether there is a value: if value != () { .. }";
    }
    let is_number = |value: &Dynamic| value.is_int() || value.is_float();
    let text = values.iter().find_map(|value| value.as_immutable_string_ref().ok());
    let (Some(text), true) = (text, values.into_iter().any(is_number)) else {
        return "\"<\", \"<=\", \">\" and \">=\" compare numbers with numbers, and texts with texts";
    };
    if is_time(&text) {
        OF_TIMES
    } else if text.parse::<f64>().is_ok() {
        "sizes are there as numbers too, such as backup.BackupSizeBytes; parse_int makes a number of another text"
    } else if parse_duration(&text).is_ok() {
        "ages and durations are numbers of seconds: write 36 * 3600 for 36 hours"
    } else {
        "make a number of the text first: time::parse for a time, parse_int for another number"
    }
}

/// Whether the text is a time in the daemon's spelling.
fn is_time(text: &str) -> bool {
    // The shape is looked at first, because parsing costs more than most comparisons.
    text.len() == "Mon Nov 23 06:19:31 +0000 2026".len()
        && ApiTime::parse(text).timestamp().is_some()
}

fn shown_comparison(operator: &str, [left, right]: [&Dynamic; 2]) -> String {
    format!("{} {operator} {}", shown(left), shown(right))
}

/// A value as a script would have it, shortened.
fn shown(value: &Dynamic) -> String {
    if value.is_unit() {
        return "()".to_owned();
    }
    if value.is_fnptr() {
        return "|..| ..".to_owned();
    }
    let text = escape(&cut(&value.to_string(), SHOWN_COLUMNS)).into_owned();
    if value.is_string() || value.is_char() { format!("\"{text}\"") } else { text }
}
