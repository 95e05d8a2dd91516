//! The host of Rhai scripts.
