//! The harness: sites and daemons to test against, and ways to speak to them.

pub mod browser;
pub mod daemon;
pub mod disk;
pub mod engine;
pub mod faulty;
pub mod http;
pub mod mounted;
pub mod powered;
pub mod running;
pub mod s3;
pub mod site;
pub mod smtp;
pub mod socket;
pub mod syslog;
pub mod transcripts;
pub mod way;
pub mod web;
