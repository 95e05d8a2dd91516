//! The status and the trigger of a run, with the words for them in SQLite, in JSON, in scripts and
//! for people.

use std::fmt;

use serde::{Serialize, Serializer};

/// Makes an enum from a table of variants and their words.
macro_rules! words {
    ($(#[$about:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[$about])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub(crate) enum $name {
            $($(#[$doc])* $variant,)+
        }

        impl $name {
            /// Every variant, in the order of the table.
            pub(crate) const ALL: &[Self] = &[$(Self::$variant),+];

            /// The variant's word.
            pub(crate) fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)+
                }
            }

            /// The variant with this word.
            pub(crate) fn parse(word: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|variant| variant.as_str() == word)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }
    };
}

words! {
    /// What started a run.
    Trigger {
        /// The command line.
        Cli = "cli",
        /// A line of the crontab.
        Cron = "cron",
        /// An HTTP request.
        Http = "http",
    }
}

words! {
    /// How far a run is, or how it ended.
    RunStatus {
        /// The run is queued: BKUP_MAX_CONCURRENT others are running.
        Waiting = "waiting",
        Running = "running",
        /// Everything succeeded.
        Done = "done",
        /// Some volumes failed, others succeeded.
        Partial = "partial",
        /// Nothing succeeded.
        Failed = "failed",
        /// A person cancelled the run.
        Cancelled = "cancelled",
        /// The run reached its deadline.
        TimedOut = "timed-out",
        /// The process of the run ended before the run did.
        Interrupted = "interrupted",
        /// The run was due and did not begin.
        Skipped = "skipped",
    }
}

impl RunStatus {
    /// Whether the run has not ended.
    pub(crate) fn is_open(self) -> bool {
        matches!(self, Self::Waiting | Self::Running)
    }

    /// Whether something went wrong. A cancelled run is no failure, because a person decided it.
    pub(crate) fn is_failure(self) -> bool {
        matches!(self, Self::Failed | Self::Partial | Self::TimedOut | Self::Interrupted)
    }
}
