//! Tests of the script host as its users see it.

mod backup_data;
mod captures;
mod comparisons;
mod declarations;
mod default_scripts;
mod ebs;
mod folders;
mod given_arguments;
mod gone;
mod limits;
mod messages;
mod restoring;
mod running;
mod sizes;
