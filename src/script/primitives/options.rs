//! The map of options that some primitives take.

use rhai::{Dynamic, Map};

use super::call::string;
use crate::error::{Error, ErrorKind, Result};

/// A map of options. An unknown option is an error.
pub(super) struct Options<'a> {
    map: &'a Map,
    pub(super) of: &'static str,
}

impl<'a> Options<'a> {
    pub(super) fn new(map: &'a Map, of: &'static str, known: &[&str]) -> Result<Self> {
        if let Some(unknown) = map.keys().find(|key| !known.contains(&key.as_str())) {
            let otherwise = format!("there are {}", known.join(", "));
            return Err(Error::new(ErrorKind::Script, format!("{of} has no option \"{unknown}\""))
                .with_hint(crate::suggest::did_you_mean_or(
                    unknown,
                    known.iter().copied(),
                    &otherwise,
                )));
        }
        Ok(Self { map, of })
    }

    pub(super) fn get(&self, name: &str) -> Option<&Dynamic> {
        self.map.get(name).filter(|value| !value.is_unit())
    }

    pub(super) fn string(&self, name: &str) -> Result<Option<String>> {
        self.get(name)
            .map(|value| string(value, &format!("option \"{name}\" of {}", self.of)))
            .transpose()
    }

    pub(super) fn flag(&self, name: &str) -> Result<bool> {
        self.get(name).map_or(Ok(false), |value| {
            value.as_bool().map_err(|_| {
                Error::usage(format!("the option \"{name}\" of {} must be true or false", self.of))
            })
        })
    }

    /// A whole number that is not negative.
    pub(super) fn number(&self, name: &str) -> Result<Option<u64>> {
        self.get(name)
            .map(|value| {
                value.as_int().ok().and_then(|number| u64::try_from(number).ok()).ok_or_else(|| {
                    Error::usage(format!(
                        "the option \"{name}\" of {} must be a number, 0 or more, not {value}",
                        self.of
                    ))
                })
            })
            .transpose()
    }
}
