//! Runs one script and shows its result.

use clap::{Arg, Command};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::{
    context::Context,
    print::{print_json, print_line},
    restored,
    runtime::in_runtime,
    script_command::script_command,
};
use crate::{
    app,
    config::DaemonChoice,
    diagnostic,
    error::Result,
    output,
    run_words::{RunStatus, Trigger},
    runs::{self, FinishedRun, RunRequest, record},
    script::{self, Arguments, Script},
    text::escape,
};

/// How long the command waits for its messages to be sent. Messages that are not sent by then wait
/// in the outbox.
pub(super) const DELIVERY_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(10);

pub(super) fn command() -> Command {
    Command::new("run").about("Run a script by its name").arg_required_else_help(true).arg(
        Arg::new("script")
            .value_name("SCRIPT")
            .required(true)
            .help("its name, see \"scripts list\""),
    )
}

/// Runs the script, or shows its help.
pub(super) fn run(context: &Context, name: &str, words: &[String]) -> Result<u8> {
    let library = app::library(&context.config)?;
    let script = library.load(name)?;
    if words.iter().any(|word| word == "--help" || word == "-h") {
        print_line(
            &script_command(&script)
                .bin_name(format!("convoy-backups {name}"))
                .render_long_help()
                .to_string(),
        );
        return Ok(0);
    }
    let arguments = script::arguments::from_command_line(&script, words)?;
    in_runtime(|cancellation| perform(context, script, arguments, cancellation))
}

/// Runs the script in this process and shows its result. Returns the exit code.
async fn perform(
    context: &Context,
    script: Script,
    arguments: Arguments,
    cancellation: CancellationToken,
) -> Result<u8> {
    let (config, flags) = (&context.config, &context.flags);
    let (name, typed) = (script.name.clone(), record::words(arguments.values()));
    let if_empty = script.if_empty.clone();
    let connection = match app::connect(config, context.progress()).await {
        Ok(connection) => connection,
        Err(error) => {
            // A run that never began is alerted as well.
            let report = app::run_reports::of_unstarted(&script, &typed, flags.dry_run, &error);
            context.notifier.on_run_end(&report);
            context.notifier.deliver_within(DELIVERY_TIMEOUT).await;
            return Err(error);
        }
    };
    context.remark(&format!("daemon: {} ({})", connection.daemon.description(), connection.why));
    let environment = app::run_environment(
        config,
        app::settings(config),
        &connection,
        context.notifier.clone(),
        app::recorder(config),
    );
    let request = RunRequest {
        script,
        arguments,
        trigger: Trigger::Cli,
        entry: None,
        dry_run: flags.dry_run,
        timeout: flags.timeout.unwrap_or(config.run_timeout),
    };
    // Convoy does not report progress, so a spinner shows the elapsed time. The built-in daemon
    // draws its own bar.
    let is_silent = matches!(config.daemon().choice, DaemonChoice::Socket(_));
    let spinner = is_silent.then(|| context.progress().begin(&name, None));
    // While the script runs, the messages that earlier runs could not send are sent.
    let stop = CancellationToken::new();
    let (notifier, stopped) = (context.notifier.clone(), stop.clone());
    let delivering = tokio::spawn(async move { notifier.keep_delivering(stopped).await });
    let finished = runs::run(&environment, request, cancellation.clone()).await;
    stop.cancel();
    context.notifier.on_run_end(&app::run_reports::of_finished(
        &environment,
        &finished,
        Trigger::Cli,
        &typed,
    ));
    drop(spinner);
    // A run that was cut short may leave requests that still block. The command does not wait for
    // them.
    if !matches!(finished.status, RunStatus::Cancelled | RunStatus::TimedOut) {
        drop(environment);
        connection.close(&cancellation, |text| context.remark(text)).await;
    }
    let code = show(context, &finished, if_empty.as_deref());
    _ = delivering.await;
    if context.notifier.has_untried() {
        context.notifier.deliver_within(DELIVERY_TIMEOUT).await;
    }
    Ok(code)
}

/// Shows a run that ended. Instead of an empty list, the script's words (`if_empty`) are shown.
/// Returns the exit code.
fn show(context: &Context, finished: &FinishedRun, if_empty: Option<&str>) -> u8 {
    match &finished.result {
        Err(error) => {
            if context.flags.json {
                print_json(&json!({ "error": diagnostic::to_json(error), "run": finished.id }));
            }
            show_plan(context, finished);
            context.show_error(error);
        }
        Ok(result) if context.flags.json => match &finished.plan {
            Some(plan) => print_json(&json!({ "dry_run": true, "plan": plan, "result": result })),
            None => print_json(result),
        },
        Ok(_) if context.flags.quiet => {}
        Ok(result) => {
            show_plan(context, finished);
            show_result(context, finished, result, if_empty);
        }
    }
    look_closer(context, finished);
    finished.exit_code()
}

fn show_result(context: &Context, finished: &FinishedRun, result: &Value, if_empty: Option<&str>) {
    if finished.plan.is_some() {
        print_line("The result would be:");
    }
    match (if_empty, result.as_array()) {
        (Some(words), Some(list)) if list.is_empty() => print_line(&escape(words)),
        _ => {
            let (width, colour) = context.output();
            let text = output::render_result(result, &jiff::Zoned::now(), colour, width);
            print_line(text.trim_end());
        }
    }
    let lines = restored::lines(result, &jiff::Zoned::now());
    if finished.plan.is_none() && !lines.is_empty() {
        print_line(&format!("\n{}", lines.join("\n")));
    }
}

/// Shows how to find out more about a run that did not go well.
fn look_closer(context: &Context, finished: &FinishedRun) {
    if finished.recorded && finished.status != RunStatus::Done {
        context.remark(&format!(
            "this was run {0}; look closer with: convoy-backups runs show {0}",
            finished.id
        ));
    }
}

/// Shows the steps of a dry run, in order.
fn show_plan(context: &Context, finished: &FinishedRun) {
    let Some(plan) = finished.plan.as_ref().filter(|_| !context.flags.json) else { return };
    if plan.is_empty() {
        print_line("Dry run: nothing would be changed.");
        return;
    }
    print_line("Dry run: nothing was changed. This would be done, in this order:");
    for (index, step) in plan.iter().enumerate() {
        print_line(&format!("{:>4}. {}", index + 1, escape(&step.text)));
    }
}
