//! `notify`: tests the channels of alerts, and shows the channels, the outbox and open problems.

use std::collections::BTreeMap;

use clap::{ArgMatches, Command};
use jiff::Zoned;
use serde_json::{Value, json};

use super::{
    context::Context,
    print::{print_json, print_line},
    runtime::in_runtime,
};
use crate::{
    diagnostic,
    error::{Error, Result},
    notify::{NO_CHANNEL_LONG_HINT, Problem, Waiting},
    output::{Column, age, moment, table},
};

pub(super) fn command() -> Command {
    Command::new("notify")
        .about("Try the ways in which people are told, or see what they are not told yet")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(Command::new("test").about("Send one message through every channel that is on"))
        .subcommand(
            Command::new("list").about("What waits to be sent, and what is wrong at the moment"),
        )
}

pub(super) fn notify(context: &Context, matches: &ArgMatches) -> Result<u8> {
    match matches.subcommand_name() {
        Some("test") if context.flags.dry_run => {
            Err(Error::usage("\"notify test\" has no dry run")
                .with_hint("\"convoy-backups notify list\" shows the channels and sends nothing"))
        }
        Some("test") => in_runtime(|_| async move { test(context).await }),
        _ => list(context),
    }
}

/// Sends a message through every configured channel. Returns 1 if one failed.
async fn test(context: &Context) -> Result<u8> {
    if context.notifier.channels().is_empty() {
        return Err(Error::configuration("no channel is on, so nobody is told of anything")
            .with_hint(NO_CHANNEL_LONG_HINT));
    }
    let results = context.notifier.test().await;
    let failed = results.iter().any(|(_, sent)| sent.is_err());
    if context.flags.json {
        let all = results.iter().map(|(channel, sent)| {
            json!({ "channel": channel.channel, "to": channel.to, "error": sent.as_ref().err().map(diagnostic::to_json) })
        });
        print_json(&all.collect::<Vec<_>>());
        return Ok(u8::from(failed));
    }
    for (channel, sent) in results {
        let name = format!("{} {}", channel.channel.as_str(), channel.to);
        match sent {
            Ok(()) if context.flags.quiet => {}
            Ok(()) => print_line(&format!("sent    {name}")),
            Err(error) => {
                print_line(&format!("FAILED  {name}"));
                context.show_error(&error);
            }
        }
    }
    Ok(u8::from(failed))
}

/// Shows the channels, the outbox and the open problems.
fn list(context: &Context) -> Result<u8> {
    let notifier = &context.notifier;
    let (channels, waiting, problems) =
        (notifier.channels(), notifier.waiting(), notifier.problems()?);
    if context.flags.json {
        let waiting: Vec<_> = waiting.iter().map(describe_waiting).collect();
        print_json(
            &json!({ "channels": channels, "outbox": waiting, "problems": describe_problems(&problems) }),
        );
        return Ok(0);
    }
    let now = Zoned::now();
    if channels.is_empty() {
        print_line("No channel is on: nobody is told of anything.");
    }
    for channel in channels {
        let when = if channel.always { "every run" } else { "failures" };
        print_line(&format!("{} {}: {when}", channel.channel.as_str(), channel.to));
    }
    if waiting.is_empty() {
        print_line("\nNothing waits to be sent.");
    } else {
        print_line("\nWhat waits to be sent:");
        show_waiting(context, waiting, &now);
    }
    if problems.is_empty() {
        print_line("\nNo problem is open.");
    } else {
        show_problems(context, &problems, &now);
    }
    Ok(0)
}

fn describe_waiting(waiting: &Waiting) -> Value {
    json!({
        "id": waiting.id, "channel": waiting.channel, "subject": waiting.message.subject,
        "time": waiting.message.time.to_string(), "attempts": waiting.attempts,
        "next_attempt": waiting.next_attempt.to_string(), "error": waiting.last_error,
    })
}

fn show_waiting(context: &Context, waiting: Vec<Waiting>, now: &Zoned) {
    let (width, colour) = context.output();
    let columns = [
        Column::left("SINCE"),
        Column::left("CHANNEL"),
        Column::right("ATTEMPTS"),
        Column::left("NEXT"),
        Column::words("SUBJECT"),
        Column::words("WHY"),
    ];
    let rows = waiting.into_iter().map(|waiting| {
        vec![
            moment(waiting.message.time, now).into(),
            waiting.channel.as_str().into(),
            waiting.attempts.to_string().into(),
            age(waiting.next_attempt, now.timestamp()).into(),
            waiting.message.subject.into(),
            waiting.last_error.unwrap_or_default().into(),
        ]
    });
    print_line(table(&columns, rows.collect(), width, colour).trim_end());
}

/// The open problems as JSON.
pub(super) fn describe_problems(problems: &BTreeMap<String, Problem>) -> Vec<Value> {
    let describe = |(key, problem): (&String, &Problem)| {
        json!({
            "key": key, "title": problem.title, "first": problem.first.to_string(),
            "last": problem.last.to_string(), "times": problem.times,
        })
    };
    problems.iter().map(describe).collect()
}

/// Shows the open problems to a person.
pub(super) fn show_problems(context: &Context, problems: &BTreeMap<String, Problem>, now: &Zoned) {
    let (width, colour) = context.output();
    let columns = [
        Column::left("SINCE"),
        Column::left("LAST SEEN"),
        Column::right("TIMES"),
        Column::words("PROBLEM"),
    ];
    let rows = problems.values().map(|problem| {
        vec![
            moment(problem.first, now).into(),
            age(problem.last, now.timestamp()).into(),
            problem.times.to_string().into(),
            problem.title.as_str().into(),
        ]
    });
    print_line("\nWhat people were told of, and is not known to be well again:");
    print_line(table(&columns, rows.collect(), width, colour).trim_end());
}
