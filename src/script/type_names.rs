//! The names of types that a script's author knows, for those of Rhai and Rust.

/// The name of one type, also of what a primitive returns.
pub(crate) fn script_type(rust: &str) -> &str {
    let rust = rust.trim();
    let returned = ["Returned<", "Result<"].iter().find_map(|outer| rust.strip_prefix(outer));
    let rust = returned.and_then(|inner| inner.split([',', '>']).next()).unwrap_or(rust).trim();
    match rust {
        "&str"
        | "String"
        | "ImmutableString"
        | "&mut ImmutableString"
        | "&str | ImmutableString | String" => "string",
        "f64" | "FLOAT" => "float",
        "INT" | "i64" => "int",
        "Map" => "map",
        "Array" => "array",
        "Dynamic" | "?" => "any",
        "FnPtr" | "Fn" => "function",
        other => other,
    }
}
