//! All primitives, as documentation, error messages and editors show them.

use std::{collections::BTreeMap, sync::LazyLock};

use serde::Deserialize;

use super::engine;

/// A primitive in the reference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Its namespace; empty for a function that needs none.
    pub(crate) namespace: String,
    /// Its name.
    pub(crate) name: String,
    /// How it is called: `convoy::volume(name: string) -> map`.
    pub(crate) signature: String,
    /// How many arguments it takes.
    pub(crate) arity: usize,
    /// Its doc: what it does, how it fails, an example.
    pub(crate) doc: String,
    /// Whether it can throw: a primitive that can't returns a plain value.
    #[cfg(test)]
    pub(crate) can_fail: bool,
}

impl Entry {
    /// Its name with the namespace: `convoy::volume`.
    pub(crate) fn path(&self) -> String {
        if self.namespace.is_empty() {
            self.name.clone()
        } else {
            format!("{}::{}", self.namespace, self.name)
        }
    }

    /// The examples in its doc: what stands in its `rhai` blocks.
    #[cfg(test)]
    pub(crate) fn examples(&self) -> Vec<String> {
        self.doc
            .split("```rhai\n")
            .skip(1)
            .map(|block| block.split("```").next().unwrap_or_default().to_owned())
            .collect()
    }
}

/// All primitives, by namespace and name: what documentation and error messages are made from.
pub(crate) fn reference() -> &'static [Entry] {
    static REFERENCE: LazyLock<Vec<Entry>> = LazyLock::new(|| {
        let json = engine::for_compiling().gen_fn_metadata_to_json(false).unwrap_or_default();
        let metadata: Metadata = serde_json::from_str(&json).unwrap_or_default();
        let mut entries: Vec<Entry> = metadata.entries("").collect();
        for (namespace, module) in &metadata.modules {
            entries.extend(module.entries(namespace));
        }
        // Rhai's own order differs from run to run where names and numbers of parameters are equal.
        entries.sort_by(|a, b| {
            (a.path(), a.arity, &a.signature).cmp(&(b.path(), b.arity, &b.signature))
        });
        entries.sort_by(|a, b| a.namespace.cmp(&b.namespace));
        entries
    });
    &REFERENCE
}

/// The primitives as definitions for the Rhai language server (`.d.rhai`), so that editors know
/// them.
pub(crate) fn definitions() -> String {
    engine::for_compiling().definitions().include_standard_packages(false).single_file()
}

/// Rhai's description of an engine's functions.
#[derive(Default, Deserialize)]
struct Metadata {
    #[serde(default)]
    modules: BTreeMap<String, Metadata>,
    #[serde(default)]
    functions: Vec<Function>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Function {
    name: String,
    #[serde(default)]
    params: Vec<FunctionParameter>,
    #[serde(default)]
    return_type: String,
    #[serde(default)]
    doc_comments: Vec<String>,
}

#[derive(Deserialize)]
struct FunctionParameter {
    #[serde(default)]
    name: String,
    #[serde(rename = "type", default)]
    kind: String,
}

impl Metadata {
    fn entries<'a>(&'a self, namespace: &'a str) -> impl Iterator<Item = Entry> + 'a {
        self.functions.iter().map(move |function| function.entry(namespace))
    }
}

impl Function {
    fn entry(&self, namespace: &str) -> Entry {
        let parameters: Vec<String> =
            self.params.iter().map(|p| format!("{}: {}", p.name, script_type(&p.kind))).collect();
        let mut entry = Entry {
            namespace: namespace.to_owned(),
            name: self.name.clone(),
            signature: String::new(),
            arity: parameters.len(),
            doc: self
                .doc_comments
                .iter()
                .flat_map(|comment| comment.lines())
                .map(|line| line.trim_start().trim_start_matches("///"))
                .map(|line| line.strip_prefix(' ').unwrap_or(line))
                .collect::<Vec<_>>()
                .join("\n"),
            #[cfg(test)]
            can_fail: self.return_type.starts_with("Returned<"),
        };
        let result = match script_type(&self.return_type).as_str() {
            "" | "()" => String::new(),
            other => format!(" -> {other}"),
        };
        entry.signature = format!("{}({}){result}", entry.path(), parameters.join(", "));
        entry
    }
}

/// Rust's names of types as a script's author knows them.
fn script_type(rust: &str) -> String {
    let inner = rust
        .trim()
        .trim_start_matches("Returned<")
        .trim_start_matches("Result<")
        .split([',', '>'])
        .next()
        .unwrap_or_default()
        .trim();
    match inner {
        "&str" | "String" | "ImmutableString" | "&mut ImmutableString" => "string",
        "f64" | "FLOAT" => "float",
        "INT" | "i64" | "int" => "int",
        "bool" => "bool",
        "Map" => "map",
        "Array" => "array",
        "Dynamic" | "?" => "any",
        "FnPtr" | "Fn" => "function",
        other => other,
    }
    .to_owned()
}
