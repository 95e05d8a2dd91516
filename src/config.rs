//! The configuration: environment and flags in, one validated [`Config`] out.
