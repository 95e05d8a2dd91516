//! The integration tests: the real binary, real sockets, real files.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod agreement;
mod backup_data;
mod bad_input;
mod browser;
mod campaigns;
mod command_line;
mod container_commands;
mod container_holds;
mod containers;
mod crontab;
mod daemon_choice;
mod daemon_transcripts;
mod damage;
mod deletion;
mod docker;
mod documents;
mod ebs;
mod examples;
mod excludes;
mod faults;
mod faulty_daemon;
mod holds;
mod hosts;
mod house;
mod logging;
mod main_job;
mod notify;
mod owners;
mod partial;
mod places;
mod plugin;
mod progress;
mod promises;
mod releases;
mod runs;
mod s3;
mod secrets;
mod serve;
mod sources;
mod status;
mod support;
mod upgrade;
mod web;
mod web_bad_input;
