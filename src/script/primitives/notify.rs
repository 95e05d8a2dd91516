//! `notify::`: messages to people.

use rhai::{Map, plugin::*};

use super::{
    call::{Returned, call, string},
    options::Options,
};
use crate::{
    error::{Error, ErrorKind, Result},
    script::{
        message_sink::{Mail, Post},
        running::RunningScript,
    },
};

#[export_module]
pub(crate) mod functions {
    /// Tells people that something is wrong and needs a look. People hear of the same problem once
    /// in `BKUP_REMIND_AFTER`, however often a script reports it. Two problems are the same if
    /// script and subject are equal and the texts differ in numbers only. A dry run only logs it.
    /// Fails with `io` where the message can't be kept.
    ///
    /// ```rhai
    /// notify::problem("vol1 is not backed up", "its newest backup is 9 days old");
    /// ```
    #[rhai_fn(volatile, return_raw)]
    pub(crate) fn problem(ctx: NativeCallContext, subject: &str, text: &str) -> Returned<()> {
        call(&ctx, |run| match run.host.run.dry_run {
            true => log_instead(run, "tell people", subject, text),
            false => run.wait(run.host.message_sink.problem(&run.speaker(), subject, text)),
        })
    }

    /// Tells people something worth knowing. A dry run only logs it. Fails with `io` where the
    /// message can't be kept.
    ///
    /// ```rhai
    /// notify::info("weekly report", "12 volumes are backed up");
    /// ```
    #[rhai_fn(volatile, return_raw)]
    pub(crate) fn info(ctx: NativeCallContext, subject: &str, text: &str) -> Returned<()> {
        call(&ctx, |run| match run.host.run.dry_run {
            true => log_instead(run, "tell people", subject, text),
            false => run.wait(run.host.message_sink.info(&run.speaker(), subject, text)),
        })
    }

    /// Sends an e-mail with `subject`, `text` and, if wanted, `to` (an address or a list of them;
    /// the configured ones if left out) and `html` (made from the text if left out). What can't be
    /// sent now is sent later. If e-mail is off, and in a dry run, the e-mail is only logged. Fails
    /// with `usage` where `subject` or `text` is missing, or an address is not one.
    ///
    /// ```rhai
    /// notify::email(#{ to: ["ops@example.com"], subject: "weekly report", text: "12 volumes are backed up" });
    /// ```
    #[rhai_fn(volatile, return_raw)]
    pub(crate) fn email(ctx: NativeCallContext, mail: Map) -> Returned<()> {
        call(&ctx, |run| {
            let options = Options::new(&mail, "notify::email", &["to", "subject", "text", "html"])?;
            let mail = Mail {
                to: addresses(&options)?,
                subject: required(&options, "subject")?,
                text: required(&options, "text")?,
                html: options.string("html")?,
            };
            match run.host.run.dry_run {
                true => log_instead(run, "send an e-mail", &mail.subject, &mail.text),
                false => run.wait(run.host.message_sink.email(&run.speaker(), mail)),
            }
        })
    }

    /// Posts to the configured webhook; a script can't choose another address. `subject` and `text`
    /// are sent in the webhook's format. A `body` in their place is posted as JSON unchanged, if
    /// the webhook takes JSON. What can't be sent now is sent later. If no webhook is set, and in a
    /// dry run, the message is only logged. Fails with `usage` where there is neither a `body` nor
    /// both of `subject` and `text`, and with `script` where there is a `url`.
    ///
    /// ```rhai
    /// notify::webhook(#{ subject: "weekly report", text: "12 volumes are backed up" });
    /// notify::webhook(#{ body: #{ text: "12 volumes", channel: "#backups" } });
    /// ```
    #[rhai_fn(volatile, return_raw)]
    pub(crate) fn webhook(ctx: NativeCallContext, post: Map) -> Returned<()> {
        call(&ctx, |run| {
            if post.contains_key("url") {
                return Err(Error::new(ErrorKind::Script, "notify::webhook takes no \"url\"")
                    .with_hint("scripts reach the configured webhook only: set BKUP_WEBHOOK_URL"));
            }
            let options = Options::new(&post, "notify::webhook", &["subject", "text", "body"])?;
            let body = options.get("body").map(serde_json::to_value).transpose();
            let body = body.map_err(|error| {
                Error::usage(format!("the body can't be written as JSON: {error}"))
            })?;
            let post = match &body {
                None => Post {
                    subject: required(&options, "subject")?,
                    text: required(&options, "text")?,
                    body,
                },
                Some(_) => Post {
                    subject: options.string("subject")?.unwrap_or_else(|| run.script.clone()),
                    text: options.string("text")?.unwrap_or_default(),
                    body,
                },
            };
            match run.host.run.dry_run {
                true => log_instead(run, "post to the webhook", &post.subject, &post.text),
                false => run.wait(run.host.message_sink.webhook(&run.speaker(), post)),
            }
        })
    }
}

fn log_instead(run: &RunningScript, what: &str, subject: &str, text: &str) -> Result<()> {
    run.log(log::Level::Info, &format!("would {what}: {subject}: {text}"));
    Ok(())
}

fn required(options: &Options<'_>, name: &str) -> Result<String> {
    options.string(name)?.ok_or_else(|| Error::usage(format!("{} needs a \"{name}\"", options.of)))
}

/// One address, or a list of them.
fn addresses(options: &Options<'_>) -> Result<Vec<String>> {
    match options.get("to") {
        None => Ok(Vec::new()),
        Some(to) => match to.as_array_ref() {
            Ok(all) => all.iter().map(|to| string(to, "address")).collect(),
            Err(_) => Ok(vec![string(to, "address")?]),
        },
    }
}
