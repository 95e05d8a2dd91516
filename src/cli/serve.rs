//! `serve`: checks the crontab, then follows it.

use clap::Command;

use super::{context::Context, crontab, runtime::in_runtime};
use crate::{app, config::DaemonChoice, error::Result, schedule::Source, text::counted};

pub(super) fn command() -> Command {
    Command::new("serve")
        .about("Follow the crontab, remember every run, and tell people when something is wrong")
}

pub(super) fn serve(context: Context) -> Result<u8> {
    let surroundings = crontab::surroundings(&context);
    let source = Source::find(&context.config);
    let checked = source.check(&surroundings);
    crontab::tell(&context, &checked);
    let accepted = checked.accept().map_err(|errors| {
        let first = errors.first().map(ToString::to_string).unwrap_or_default();
        let count = counted(errors.len(), "error", "errors");
        format!("The crontab \"{source}\" has {count}, the first: {first}")
    });
    let (crontab, _) = match accepted {
        Ok(accepted) => accepted,
        Err(why) => {
            let notifier = context.notifier.clone();
            in_runtime(|_| async move {
                app::serve::cannot_start(&notifier, &why).await;
                Ok(0)
            })?;
            eprintln!(
                "nothing was started: mend the crontab, and look at it with \"convoy-backups crontab check\""
            );
            return Ok(2);
        }
    };
    let config = &context.config;
    if config.repository_password.is_none()
        && matches!(config.daemon().choice, DaemonChoice::Builtin(_))
    {
        log::warn!("backups are not encrypted: set BKUP_REPOSITORY_PASSWORD");
    }
    let serving = app::Serving {
        config: context.config.clone(),
        surroundings,
        crontab,
        notifier: context.notifier.clone(),
    };
    in_runtime(|cancellation| async move {
        app::serve(serving, cancellation).await?;
        Ok(0)
    })
}
