//! `doctor`: checks everything that a backup and a restore need, and says how to fix what is
//! missing.

use std::time::Duration;

use clap::Command;

mod check;
mod daemon;
mod folders;
mod places;

use check::{Check, Verdict, failed, failed_with, ok, warning};
use daemon::daemon;
use folders::folder;

use super::{
    context::Context,
    print::{print_json, print_line},
};
use crate::{
    app,
    clock::{self, Clock as _, SystemClock},
    config::SystemSettings,
    error::{Error, Result},
    logging,
    notify::{NO_CHANNEL, NO_CHANNEL_LONG_HINT},
    runs::{Store, record::Filter},
    text::{Style, counted, escape, styled},
};

/// How long a syslog server may take to be resolved and reached.
const SYSLOG_TIMEOUT: Duration = Duration::from_secs(10);

pub(super) fn command() -> Command {
    Command::new("doctor")
        .about("Look at the daemon, folders, destination and scripts; say what to do")
}

/// Checks everything and shows the results. Returns 1 if a check failed.
pub(super) async fn doctor(context: &Context) -> Result<u8> {
    let mut checks = Vec::new();
    checks.extend(clock::unset(SystemClock.now()).map(|(what, hint)| failed("clock", what, hint)));
    checks.extend(settings(&context.config.system));
    checks.extend(folder(
        "data folder",
        &context.config.data_dir,
        "set BKUP_DATA_DIR to a folder that can be written",
    ));
    checks.push(runs(context));
    checks.push(scripts(context));
    checks.extend(log(context).await);
    checks.extend(channels(context));
    checks.extend(daemon(context).await);

    let code = u8::from(checks.iter().any(|check| check.verdict == Verdict::Failed));
    if context.flags.json {
        print_json(&checks);
        return Ok(code);
    }
    let (_, colour) = context.output();
    for check in &checks {
        let (word, style) = match check.verdict {
            Verdict::Ok => ("ok     ", Style::Green),
            Verdict::Warning => ("warning", Style::Yellow),
            Verdict::Failed => ("FAILED ", Style::Red),
        };
        if context.flags.quiet && check.verdict == Verdict::Ok {
            continue;
        }
        print_line(&format!(
            "{}  {:<18} {}",
            styled(word, style, colour),
            check.what,
            escape(&check.found)
        ));
        if let Some(hint) = &check.hint {
            print_line(&format!("         {:<18} -> {}", "", escape(hint)));
        }
    }
    Ok(code)
}

/// Checks the file with the settings of the system's services, if there is one.
fn settings(system: &SystemSettings) -> Option<Check> {
    let path = system.path.as_ref()?.display();
    let what = "settings";
    Some(if system.is_closed {
        let hint = "as root you see what the services see; for none of them, BKUP_DEFAULTS=off";
        warning(what, format!("this user can't read the services' settings in \"{path}\""), hint)
    } else if let Some(odd) = system.warnings.first() {
        warning(what, odd.message.clone(), odd.hint.clone().unwrap_or_default())
    } else {
        ok(what, format!("those of the services in \"{path}\" hold here, too"))
    })
}

/// Checks the store of runs: without it, runs go on, but `status` and the guards know nothing of them.
fn runs(context: &Context) -> Check {
    let newest = Filter { limit: Some(1), ..Filter::default() };
    match Store::new(&context.config.data_dir).list(&newest) {
        Ok(_) => ok("runs", "the store of runs can be read"),
        Err(error) => failed_with("runs", &error),
    }
}

fn scripts(context: &Context) -> Check {
    let library = match app::library(&context.config) {
        Ok(library) => library,
        Err(error) => return failed_with("scripts", &error),
    };
    let listed = match library.list() {
        Ok(listed) => listed,
        Err(error) => return failed_with("scripts", &error),
    };
    let broken: Vec<_> = listed
        .iter()
        .filter(|listed| listed.doc.is_err())
        .map(|listed| listed.name.as_str())
        .collect();
    if broken.is_empty() {
        ok("scripts", format!("{}, all in order", counted(listed.len(), "script", "scripts")))
    } else {
        failed(
            "scripts",
            format!("broken: {}", broken.join(", ")),
            "see \"convoy-backups scripts check\"",
        )
    }
}

/// Checks the log file and the syslog server, if they are configured.
async fn log(context: &Context) -> Vec<Check> {
    let (file, syslog) = (&context.config.file_log, context.config.syslog.clone());
    let mut checks = Vec::new();
    if file.enabled {
        checks.push(match logging::try_out_file(file) {
            Ok(()) => ok("log file", format!("\"{}\" can be written", file.location.display())),
            Err(error) => failed_with("log file", &error),
        });
    }
    if syslog.enabled {
        let (host, server) = (context.config.host_name(), syslog.server.clone());
        let tried = tokio::task::spawn_blocking(move || logging::try_out_syslog(&syslog, &host));
        checks.push(match tokio::time::timeout(SYSLOG_TIMEOUT, tried).await {
            Ok(Ok(Ok(found))) => ok("syslog", found),
            Ok(Ok(Err(error))) => failed_with("syslog", &error),
            Ok(Err(panic)) => {
                failed_with("syslog", &Error::internal(format!("the check failed: {panic}")))
            }
            Err(_) => failed(
                "syslog",
                format!(
                    "the server \"{server}\" could not be resolved or reached in {} s",
                    SYSLOG_TIMEOUT.as_secs()
                ),
                "look at BKUP_LOGGER_SYSLOG_SERVER, and at the name servers in /etc/resolv.conf",
            ),
        });
    }
    checks
}

/// Checks the channels of alerts.
fn channels(context: &Context) -> Vec<Check> {
    let channels = context.notifier.channels();
    if channels.is_empty() {
        let hint = format!("{NO_CHANNEL_LONG_HINT}; then \"convoy-backups notify test\"");
        return vec![warning("who is told", NO_CHANNEL, hint)];
    }
    let told = channels.iter().map(|channel| {
        let when = if channel.always { "every run" } else { "failures" };
        ok("who is told", format!("{} {}: {when}", channel.channel.as_str(), channel.to))
    });
    let mut checks: Vec<Check> = told.collect();
    let waiting = context.notifier.waiting().len();
    if waiting > 0 {
        let found = format!("{} could not be sent yet", counted(waiting, "message", "messages"));
        checks.push(warning("who is told", found, "see \"convoy-backups notify list\""));
    }
    checks
}
