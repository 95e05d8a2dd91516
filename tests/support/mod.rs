//! The harness: daemons to test against, and ways to speak to them.

pub mod daemon;
pub mod faulty;
pub mod socket;
pub mod transcripts;
