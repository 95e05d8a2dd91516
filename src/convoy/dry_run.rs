//! A daemon that reads for real and writes nothing.
