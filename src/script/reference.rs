//! The reference of all primitives, for documentation, error messages and editors.

use std::{collections::BTreeMap, sync::LazyLock};

use serde::Deserialize;

use super::{engine, type_names::script_type};

/// A primitive in the reference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Empty for a function without a namespace.
    pub(crate) namespace: String,
    pub(crate) name: String,
    /// How to call the primitive: `convoy::volume(name: string) -> map`.
    pub(crate) signature: String,
    /// The number of arguments.
    pub(crate) arity: usize,
    /// The primitive's doc: what it does, how it fails, and an example.
    pub(crate) doc: String,
    /// Whether the primitive can throw. One that can't throw returns a plain value.
    #[cfg(test)]
    pub(crate) can_fail: bool,
}

impl Entry {
    /// The name with the namespace: `convoy::volume`.
    pub(crate) fn path(&self) -> String {
        if self.namespace.is_empty() {
            self.name.clone()
        } else {
            format!("{}::{}", self.namespace, self.name)
        }
    }

    /// The examples in the doc, which are its `rhai` blocks.
    #[cfg(test)]
    pub(crate) fn examples(&self) -> Vec<String> {
        self.doc
            .split("```rhai\n")
            .skip(1)
            .map(|block| block.split("```").next().unwrap_or_default().to_owned())
            .collect()
    }
}

/// All primitives by namespace and name.
pub(crate) fn reference() -> &'static [Entry] {
    static REFERENCE: LazyLock<Vec<Entry>> = LazyLock::new(|| {
        let json = engine::for_compiling().gen_fn_metadata_to_json(false).unwrap_or_default();
        let metadata: Metadata = serde_json::from_str(&json).unwrap_or_default();
        let mut entries: Vec<Entry> = metadata.entries("").collect();
        for (namespace, module) in &metadata.modules {
            entries.extend(module.entries(namespace));
        }
        // If names and numbers of parameters are equal, Rhai's order differs from run to run.
        entries.sort_by(|a, b| {
            (a.path(), a.arity, &a.signature).cmp(&(b.path(), b.arity, &b.signature))
        });
        entries.sort_by(|a, b| a.namespace.cmp(&b.namespace));
        entries
    });
    &REFERENCE
}

/// The primitives as definitions for the Rhai language server (`.d.rhai`), for editors.
pub(crate) fn definitions() -> String {
    engine::for_compiling().definitions().include_standard_packages(false).single_file()
}

/// The functions of an engine, as Rhai describes them in JSON.
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
        let result = match script_type(&self.return_type) {
            "" | "()" => String::new(),
            other => format!(" -> {other}"),
        };
        entry.signature = format!("{}({}){result}", entry.path(), parameters.join(", "));
        entry
    }
}
