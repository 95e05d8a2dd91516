//! The fields of a request's body, read as leniently as Go reads them. Names may be in any case,
//! `null` means a missing value, unknown fields are ignored, and so is anything after the first
//! value.

use serde_json::{Map, Value};

use crate::error::{Error, Result};

/// The object in a request's body.
#[derive(Debug, Default)]
pub(super) struct Fields(Map<String, Value>);

impl Fields {
    /// Parses the body. An empty body is the error `EOF`, in Go's words.
    ///
    /// # Errors
    /// A usage error if the body is not a JSON object.
    pub(super) fn parse(body: &[u8]) -> Result<Self> {
        let mut values = serde_json::Deserializer::from_slice(body).into_iter::<Value>();
        match values.next() {
            None => Err(Error::usage("EOF")),
            Some(Err(error)) if error.is_eof() => Err(Error::usage("unexpected EOF")),
            Some(Err(error)) => {
                Err(Error::usage(format!("the request's body is not JSON: {error}")))
            }
            Some(Ok(Value::Null)) => Ok(Self::default()),
            Some(Ok(Value::Object(fields))) => Ok(Self(fields)),
            Some(Ok(_)) => Err(Error::usage("the request's body is not a JSON object")),
        }
    }

    fn get(&self, name: &str) -> Option<&Value> {
        let found = self.0.get(name).or_else(|| {
            self.0.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
        });
        found.filter(|value| !value.is_null())
    }

    /// A text; empty if the field is missing.
    ///
    /// # Errors
    /// A usage error for another type.
    pub(super) fn text(&self, name: &str) -> Result<&str> {
        self.get(name)
            .map_or(Ok(""), |value| value.as_str().ok_or_else(|| wrong_type(name, "a string")))
    }

    /// A text; `None` if the field is missing or empty.
    ///
    /// # Errors
    /// As [`Fields::text`].
    pub(super) fn some_text(&self, name: &str) -> Result<Option<&str>> {
        Ok(Some(self.text(name)?).filter(|text| !text.is_empty()))
    }

    /// A whole number; `None` if the field is missing.
    ///
    /// # Errors
    /// A usage error for another type, a fraction, or a negative number.
    pub(super) fn number(&self, name: &str) -> Result<Option<u64>> {
        self.get(name)
            .map(|value| {
                value.as_u64().ok_or_else(|| wrong_type(name, "a whole number of at least 0"))
            })
            .transpose()
    }

    /// A yes or no; false if the field is missing.
    ///
    /// # Errors
    /// A usage error for another type.
    pub(super) fn flag(&self, name: &str) -> Result<bool> {
        self.get(name).map_or(Ok(false), |value| {
            value.as_bool().ok_or_else(|| wrong_type(name, "true or false"))
        })
    }

    /// A list of texts; empty if the field is missing.
    ///
    /// # Errors
    /// A usage error for another type.
    pub(super) fn texts(&self, name: &str) -> Result<Vec<&str>> {
        let wrong = || wrong_type(name, "a list of strings");
        match self.get(name) {
            None => Ok(Vec::new()),
            Some(Value::Array(values)) => {
                values.iter().map(|value| value.as_str().ok_or_else(wrong)).collect()
            }
            Some(_) => Err(wrong()),
        }
    }

    /// An object inside this one.
    ///
    /// # Errors
    /// A usage error for another type.
    pub(super) fn object(&self, name: &str) -> Result<Self> {
        match self.get(name) {
            None => Ok(Self::default()),
            Some(Value::Object(fields)) => Ok(Self(fields.clone())),
            Some(_) => Err(wrong_type(name, "an object")),
        }
    }
}

fn wrong_type(name: &str, due: &str) -> Error {
    Error::usage(format!("\"{name}\" must be {due}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_are_read_as_go_reads_them() {
        let fields = Fields::parse(
            br#"{"volumename":"vol1","SIZE":7,"Verbose":null,"Other":[]} {"more":1}"#,
        )
        .unwrap();
        assert_eq!(fields.text("VolumeName").unwrap(), "vol1");
        assert_eq!(fields.number("Size").unwrap(), Some(7));
        assert!(!fields.flag("Verbose").unwrap());
        assert_eq!(fields.some_text("Name").unwrap(), None);
        for (body, message) in [
            ("", "EOF"),
            (" \n", "EOF"),
            (r#"{"a":"#, "unexpected EOF"),
            ("x", "the request's body is not JSON: expected value at line 1 column 1"),
            ("[]", "the request's body is not a JSON object"),
        ] {
            assert_eq!(Fields::parse(body.as_bytes()).unwrap_err().message, message, "{body}");
        }
    }

    #[test]
    fn a_field_of_another_type_is_refused() {
        let fields =
            Fields::parse(br#"{"Size":-1,"Name":1,"Verbose":"yes","Opts":"x","IOPS":1.5}"#)
                .unwrap();
        assert!(fields.number("Size").is_err() && fields.number("IOPS").is_err());
        assert!(
            fields.text("Name").is_err()
                && fields.flag("Verbose").is_err()
                && fields.object("Opts").is_err()
        );
    }
}
