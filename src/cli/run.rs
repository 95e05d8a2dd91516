//! Runs one script and shows what came of it.

use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::{Context, commands, in_runtime, print_json, print_line};
use crate::{
    app,
    config::DaemonChoice,
    diagnostic,
    error::Result,
    output,
    run_words::{RunStatus, Trigger},
    runs::{self, Finished, Request, record},
    script,
    text::escape,
};

/// How long the end of a run waits for a message to be sent; what is not is sent later.
const TELLING: std::time::Duration = std::time::Duration::from_secs(10);

/// Runs the script, or shows its help.
pub(super) fn run(context: &Context, name: &str, words: &[String]) -> Result<u8> {
    let library = app::library(&context.config)?;
    let script = library.load(name)?;
    if words.iter().any(|word| word == "--help" || word == "-h") {
        print_line(
            &commands::of_script(&script)
                .bin_name(format!("convoy-backups {name}"))
                .render_long_help()
                .to_string(),
        );
        return Ok(0);
    }
    let arguments = script::arguments::from_command_line(&script, words)?;
    let typed = record::words(arguments.values());
    let finished = in_runtime(|cancellation| async move {
        let connection = match app::connect(&context.config, context.progress()).await {
            Ok(connection) => connection,
            Err(error) => {
                // It never became a run, and people are to know of it all the same.
                context.notifier.on_run_end(&app::run_reports::of_unstarted(
                    &script,
                    &typed,
                    context.flags.dry_run,
                    &error,
                ));
                context.notifier.deliver_within(TELLING).await;
                return Err(error);
            }
        };
        context.remark(&format!(
            "daemon: {} ({})",
            connection.daemon.description(),
            connection.why
        ));
        let door = app::door(
            &context.config,
            app::settings(&context.config),
            &connection,
            context.notifier.clone(),
            app::recorder(&context.config),
        );
        let request = Request {
            script,
            arguments,
            trigger: Trigger::Cli,
            entry: None,
            dry_run: context.flags.dry_run,
            timeout: context.flags.timeout.unwrap_or(context.config.run_timeout),
        };
        // Convoy tells nothing of how far it is: a spinner with the elapsed time. The built-in
        // daemon draws its own bar.
        let is_silent = matches!(context.config.daemon().0, DaemonChoice::Socket(_));
        let spinner = is_silent.then(|| context.progress().begin(name, None));
        // What earlier runs could not send is sent meanwhile.
        let stop = CancellationToken::new();
        let (notifier, stopped) = (context.notifier.clone(), stop.clone());
        let delivering = tokio::spawn(async move { notifier.keep_delivering(stopped).await });
        let finished = runs::run(&door, request, cancellation.clone()).await;
        stop.cancel();
        let report = app::run_reports::of_finished(&door, &finished, Trigger::Cli, &typed);
        context.notifier.on_run_end(&report);
        drop(spinner);
        // What was cut short may still block: then nobody's request is waited for, either.
        if !matches!(finished.status, RunStatus::Cancelled | RunStatus::TimedOut) {
            drop(door);
            connection.close(&cancellation, |text| context.remark(text)).await;
        }
        let code = show(context, finished);
        _ = delivering.await;
        if context.notifier.has_untried() {
            context.notifier.deliver_within(TELLING).await;
        }
        code
    })?;
    Ok(finished)
}

/// Shows a run that ended; its exit code.
fn show(context: &Context, finished: Finished) -> Result<u8> {
    let code = finished.exit_code();
    let result = match &finished.result {
        Ok(result) => result,
        Err(error) => {
            if context.flags.json {
                print_json(&json!({ "error": diagnostic::to_json(error), "run": finished.id }));
            }
            show_plan(context, &finished);
            context.show_error(error);
            look_closer(context, &finished);
            return Ok(code);
        }
    };
    if context.flags.json {
        match &finished.plan {
            Some(plan) => print_json(&json!({ "dry_run": true, "plan": plan, "result": result })),
            None => print_json(result),
        }
    } else if !context.flags.quiet {
        show_plan(context, &finished);
        let (width, colour) = context.output();
        let text = output::render_result(result, &jiff::Zoned::now(), colour, width);
        if finished.plan.is_some() {
            print_line("The result would be:");
        }
        match result.as_array() {
            Some(none) if none.is_empty() => print_line(&nothing(&finished.script)),
            _ => print_line(text.trim_end()),
        }
        if let Some(path) = result
            .pointer("/DriverInfo/Path")
            .and_then(serde_json::Value::as_str)
            .filter(|_| finished.plan.is_none())
        {
            print_line(&format!("\nIts files are in {}", escape(path)));
        }
    }
    look_closer(context, &finished);
    Ok(code)
}

/// Where to find out more about a run that did not go well.
fn look_closer(context: &Context, finished: &Finished) {
    if finished.recorded && finished.status != RunStatus::Done {
        context.remark(&format!(
            "this was run {0}; look closer with: convoy-backups runs show {0}",
            finished.id
        ));
    }
}

/// What an empty list means: which script made it tells more than the list.
fn nothing(script: &str) -> String {
    match script {
        "volumes" | "snapshot" | "backup" => "there are no volumes".into(),
        "backups" | "prune" => "there are no backups".into(),
        _ => "nothing was found".into(),
    }
}

/// What a dry run would have done, in order.
fn show_plan(context: &Context, finished: &Finished) {
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
