//! The primitives `notify::` of scripts, over the same outbox and channels.

use async_trait::async_trait;

use super::{
    channel::ChannelKind,
    email,
    message::{Event, Message},
    notifier::Notifier,
    problems::Repeat,
    report,
    slot::Reach,
    texts,
};
use crate::{
    error::Result,
    script::{Mail, MessageSink, Post, Speaker},
};

#[async_trait]
impl MessageSink for Notifier {
    fn run_started(&self, speaker: &Speaker, read_only: bool) {
        Notifier::on_run_start(self, &speaker.run, &speaker.script, read_only);
    }

    async fn problem(&self, speaker: &Speaker, subject: &str, text: &str) -> Result<()> {
        let key = format!("script {}: {subject}", speaker.script);
        let fingerprint = report::without_numbers(text);
        self.report_problem(
            &key,
            subject,
            text,
            &fingerprint,
            Some(&speaker.run),
            Repeat::AfterAWhile,
        );
        Ok(())
    }

    async fn info(&self, speaker: &Speaker, subject: &str, text: &str) -> Result<()> {
        if self.channels().is_empty() {
            log::warn!("nobody is told of this, as no channel is on: {subject}: {text}");
        }
        self.notify(Event::Information, subject, text, Reach::All, Some(&speaker.run));
        Ok(())
    }

    async fn email(&self, speaker: &Speaker, mail: Mail) -> Result<()> {
        for address in &mail.to {
            email::mailbox(address)?;
        }
        if !self.is_on(ChannelKind::Email) {
            log::warn!(
                "this is sent to nobody, as BKUP_EMAIL_ENABLED is not true: {}",
                mail.subject
            );
            return Ok(());
        }
        let mut message =
            self.plain_message(Event::Information, &mail.subject, &mail.text, Some(&speaker.run));
        message.subject = texts::subject_as_is(&mail.subject);
        if let Some(html) = mail.html {
            message.html = html;
        }
        message.to = (!mail.to.is_empty()).then_some(mail.to);
        self.queue(&message, Reach::Only(ChannelKind::Email));
        Ok(())
    }

    async fn webhook(&self, speaker: &Speaker, post: Post) -> Result<()> {
        if !self.is_on(ChannelKind::Webhook) {
            log::warn!("this is sent to nobody, as BKUP_WEBHOOK_URL is not set: {}", post.subject);
            return Ok(());
        }
        let message =
            self.plain_message(Event::Information, &post.subject, &post.text, Some(&speaker.run));
        self.queue(&Message { body: post.body, ..message }, Reach::Only(ChannelKind::Webhook));
        Ok(())
    }
}
