//! Reads a request's query: known names only, each once.

use std::{collections::BTreeMap, str::FromStr};

use super::problem::Problem;
use crate::suggest;

/// The values of a query, by name.
#[derive(Debug, Default)]
pub(crate) struct Query(BTreeMap<String, String>);

impl Query {
    /// Reads a query. `known` are the names that the route accepts.
    ///
    /// # Errors
    /// 400 with the field, for a name that is unknown or given twice.
    pub(crate) fn read(raw: &str, known: &[&str]) -> Result<Self, Problem> {
        let mut values = BTreeMap::new();
        for (name, value) in form_urlencoded::parse(raw.as_bytes()) {
            if !known.contains(&name.as_ref()) {
                let otherwise = match known {
                    [] => "it takes no query".to_owned(),
                    known => format!("there are {}", known.join(", ")),
                };
                let hint = suggest::did_you_mean_or(&name, known.iter().copied(), &otherwise);
                return Err(Problem::usage(format!(
                    "the query's \"{}\" is unknown",
                    crate::text::escape(&name)
                ))
                .with_field(name)
                .with_hint(hint));
            }
            if values.insert(name.clone().into_owned(), value.into_owned()).is_some() {
                return Err(
                    Problem::usage(format!("the query has \"{name}\" twice")).with_field(name)
                );
            }
        }
        Ok(Self(values))
    }

    /// A value. An empty value counts as not given.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// A value of a type. `what` describes the type to the client.
    ///
    /// # Errors
    /// 400 with the field, if the value can't be parsed.
    pub(crate) fn parse<T: FromStr>(&self, name: &str, what: &str) -> Result<Option<T>, Problem> {
        let parse = |value: &str| value.parse().map_err(|_| Self::wrong(name, value, what));
        self.get(name).map(parse).transpose()
    }

    /// Whether a flag is set: `?dry_run=true`, or `?dry_run`.
    ///
    /// # Errors
    /// 400 with the field, if the value is neither true nor false.
    pub(crate) fn flag(&self, name: &str) -> Result<bool, Problem> {
        match self.0.get(name).map(|value| value.to_ascii_lowercase()).as_deref() {
            None | Some("false" | "0" | "no") => Ok(false),
            Some("" | "true" | "1" | "yes") => Ok(true),
            Some(value) => Err(Self::wrong(name, value, "true or false")),
        }
    }

    /// 400: the value is not what the field must be.
    pub(crate) fn wrong(name: &str, value: &str, what: &str) -> Problem {
        Problem::usage(format!("{name}: \"{}\" is not {what}", crate::text::escape(value)))
            .with_field(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_has_known_names_once_and_what_is_wrong_is_said_with_its_field() {
        let query =
            Query::read("limit=5&script=a%20b&dry_run", &["limit", "script", "dry_run"]).unwrap();
        assert_eq!(
            (query.parse::<u32>("limit", "a number").unwrap(), query.get("script")),
            (Some(5), Some("a b"))
        );
        assert!(query.flag("dry_run").unwrap());
        for (raw, field) in [("limt=5", "limt"), ("limit=1&limit=2", "limit")] {
            let problem = Query::read(raw, &["limit"]).unwrap_err();
            assert_eq!(
                (problem.status().as_u16(), problem.to_json()["field"].as_str()),
                (400, Some(field))
            );
        }
        let query = Query::read("limit=x", &["limit"]).unwrap();
        assert_eq!(
            query.parse::<u32>("limit", "a number").unwrap_err().to_json()["field"],
            "limit"
        );
    }
}
