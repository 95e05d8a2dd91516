//! A parameter of a script: which arguments it accepts, and how a value is converted.

mod given;

use serde_json::Value;

use self::given::Given;
use crate::error::Result;

/// A parameter as the script declares it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Parameter {
    /// Letters, digits and `_`.
    pub(crate) name: String,
    pub(crate) kind: ParameterKind,
    /// Whether an argument must be given.
    pub(crate) required: bool,
    /// The value that the script gets if no argument is given. A size is in bytes, a duration in
    /// seconds.
    pub(crate) default: Option<Value>,
    /// The default as the script's author wrote it, for help: `7d`.
    pub(crate) default_text: Option<String>,
    /// Whether a plain word on the command line is its value.
    pub(crate) positional: bool,
    /// What the parameter is for, in the author's words.
    pub(crate) help: String,
}

/// What holds for every parameter of one type.
struct KindRow {
    /// The word in a declaration's `type:`.
    word: &'static str,
    /// The placeholder in usage lines.
    placeholder: &'static str,
    typed: fn(&Given<'_>) -> Result<Value>,
}

/// The enum from a table of the types.
macro_rules! parameter_kinds {
    ($($(#[$doc:meta])* $kind:ident $(($data:ty))? { $($row:tt)+ },)+) => {
        /// The type of a parameter.
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub(crate) enum ParameterKind {
            $($(#[$doc])* $kind $(($data))?,)+
        }

        impl ParameterKind {
            /// Every type, in the order of the table; the choice without its values.
            const ALL: &[Self] = &[$(Self::$kind $((<$data>::new()))?),+];

            fn row(&self) -> KindRow {
                match self {
                    $(Self::$kind { .. } => KindRow { $($row)+ },)+
                }
            }
        }
    };
}

parameter_kinds! {
    /// Any text.
    String { word: "string", placeholder: "STRING", typed: given::text },
    /// A whole number.
    Int { word: "int", placeholder: "NUMBER", typed: given::int },
    /// True or false; a flag on the command line.
    Bool { word: "bool", placeholder: "true|false", typed: given::bool },
    /// A size such as `40G`; bytes in the script.
    Size { word: "size", placeholder: "SIZE", typed: given::size },
    /// A duration such as `7d`; seconds in the script.
    Duration { word: "duration", placeholder: "DURATION", typed: given::duration },
    /// A point in time such as `yesterday 18:00`; in the script a text in RFC 3339. A day alone is its end.
    Time { word: "time", placeholder: "TIME", typed: given::time },
    /// The same, where a day alone is its beginning.
    Since { word: "since", placeholder: "TIME", typed: given::since },
    /// One of these values, which are the placeholder.
    OneOf(Vec<String>) { word: "choice", placeholder: "", typed: given::choice },
    /// Several texts. On the command line, the option is repeated.
    List { word: "list", placeholder: "STRING", typed: given::list },
    /// A volume's name.
    Volume { word: "volume", placeholder: "VOLUME", typed: given::volume },
    /// A snapshot's name.
    Snapshot { word: "snapshot", placeholder: "SNAPSHOT", typed: given::snapshot },
    /// A backup's URL.
    BackupUrl { word: "backup_url", placeholder: "URL", typed: given::backup_url },
    /// A backup destination.
    Destination { word: "destination", placeholder: "DESTINATION", typed: given::destination },
}

impl ParameterKind {
    /// The type with this [word](Self::word); the choice without its values.
    pub(crate) fn of_word(word: &str) -> Option<Self> {
        Self::ALL.iter().find(|kind| kind.word() == word).cloned()
    }

    /// The words that `type:` accepts.
    pub(crate) fn words() -> Vec<&'static str> {
        Self::ALL.iter().map(Self::word).collect()
    }

    /// The word in a declaration's `type:`.
    pub(crate) fn word(&self) -> &'static str {
        self.row().word
    }

    /// The placeholder in usage lines: `SIZE`, `ext4|xfs`.
    pub(crate) fn placeholder(&self) -> String {
        match self {
            Self::OneOf(choices) => choices.join("|"),
            other => other.row().placeholder.to_owned(),
        }
    }

    /// Converts a value to the form that the script gets, if the value fits the type.
    pub(crate) fn typed(&self, value: &Value) -> Result<Value> {
        given::check_length(value)?;
        let choices: &[String] = match self {
            Self::OneOf(choices) => choices,
            _ => &[],
        };
        (self.row().typed)(&Given { value, choices })
    }
}

impl Parameter {
    /// The option on the command line: `--create-snapshot`.
    pub(crate) fn option(&self) -> String {
        format!("--{}", self.name.replace('_', "-"))
    }
}
