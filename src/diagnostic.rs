//! The one renderer of errors.
