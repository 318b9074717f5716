//! E-mail: one mail a message, as text and HTML, by the operator's mail server.
//!
//! The players: [`MailSettings`] is what the operator set; [`Mailer`] keeps the connections and
//! bounds the mails under way; `server` speaks with the mail server and `verdict` says what its
//! answers mean; `content`, `template` and `language` make the text; `compose` makes the mail;
//! [`EmailSink`] does all of it for one subscription, and [`check_email`] judges its specification.
//!
//! Guaranteed: an attempt ends within its timeout. A mail is the same, to the byte, on every
//! attempt. All recipients get it or none: they are in one transaction with the mail server, and
//! the first that is refused ends it. Nothing that an event says can add a header, a recipient or a
//! mail.

mod address;
mod check;
mod compose;
mod content;
mod data;
mod filters;
mod language;
mod mailer;
mod reply_stream;
mod sample;
mod server;
mod settings;
mod template;
mod verdict;

use std::{fmt, time::Duration};

use chrono::{DateTime, Utc};
use minijinja::Value;
use tokio::time::{Instant, timeout_at};
use uuid::Uuid;

pub use address::{DISPLAY_NAME_CHARS_MAX, DOMAIN_BYTES_MAX, LOCAL_PART_BYTES_MAX};
pub use check::{RECIPIENTS_MAX, check_email};
pub use content::{DIGEST_FIELDS_MAX, DIGEST_ROW_FIELDS_MAX, FIELDS_MAX, ROWS_MAX};
pub use data::{CONTENT_BYTES_MAX, DIGEST_VALUE_CHARS_MAX, ENTRIES_MAX, VALUE_CHARS_MAX};
pub use language::{LITERAL_ENTRIES_MAX, TEMPLATE_BYTES_MAX};
pub use mailer::{MAIL_IDLE_TIMEOUT, Mailer, MailerError};
pub use reply_stream::REPLY_BYTES_MAX;
pub use settings::{CONNECTIONS_DEFAULT, CONNECTIONS_MAX, MailSettings, MailSettingsError};
pub use template::{FUEL, HTML_BYTES_MAX, SUBJECT_CHARS_MAX, TEXT_BYTES_MAX};

use self::{
    address::mailbox,
    compose::{Addressing, Mail, compose},
    content::Content,
    data::map,
    server::Step,
    template::{RenderFault, Templates},
};
use super::{Attempt, Message, Outcome, Sink};
use crate::subscription::model::EmailSpec;

/// Sends messages as mails to the recipients of one subscription.
#[derive(Clone)]
pub struct EmailSink {
    mailer: Mailer,
    addressing: Addressing,
    templates: Templates,
}

impl EmailSink {
    /// A sink for the subscription of this id and name.
    ///
    /// # Errors
    ///
    /// What is wrong with `spec`, each with its pointer; [`check_email`] finds all of it before.
    pub fn new(mailer: Mailer, spec: &EmailSpec, id: Uuid, name: &str) -> Result<Self, String> {
        let settings = mailer.settings();
        let read = |text: &str, pointer: &str| {
            mailbox(text).map_err(|problem| format!("{pointer}: {problem}"))
        };
        let to = spec.to.iter().map(|text| read(text, "/sink/to"));
        let from = match &spec.from {
            None => settings.from.clone(),
            Some(text) => {
                let from = read(text, "/sink/from")?;
                settings.admits_sender(&from)?;
                from
            }
        };
        let reply_to = spec.reply_to.as_deref();
        let addressing = Addressing {
            from,
            operator: settings.from.email.clone(),
            to: to.collect::<Result<_, _>>()?,
            reply_to: reply_to
                .map(|text| read(text, "/sink/reply_to"))
                .transpose()?,
            subscription_id: id,
            subscription_name: name.to_owned(),
        };
        if addressing.to.is_empty() || addressing.to.len() > RECIPIENTS_MAX {
            return Err(format!("/sink/to: 1 to {RECIPIENTS_MAX} recipients"));
        }
        let templates = check::templates(spec).map_err(|problems| {
            let problems = problems.into_iter();
            let texts = problems.map(|(pointer, message)| format!("{pointer}: {message}"));
            texts.collect::<Vec<_>>().join("; ")
        })?;
        Ok(Self {
            mailer,
            addressing,
            templates,
        })
    }

    async fn attempt(&self, message: &Message, now: DateTime<Utc>, timeout: Duration) -> Outcome {
        let deadline = Instant::now() + timeout;
        let mut step = Step::Waiting;
        let attempt = self.send_mail(message, now, &mut step);
        match timeout_at(deadline, attempt).await {
            Ok(outcome) => outcome,
            Err(_elapsed) => verdict::timed_out(step, self.mailer.host(), timeout),
        }
    }

    async fn send_mail(&self, message: &Message, now: DateTime<Utc>, step: &mut Step) -> Outcome {
        let _permit = self.mailer.permit().await;
        *step = Step::Rendering;
        let (sink, message) = (self.clone(), message.clone());
        // Milliseconds of work that never waits: not for a thread that others wait for.
        let made = tokio::task::spawn_blocking(move || sink.mail(&message, now)).await;
        let refused = |detail: String| Outcome::Final {
            status: None,
            detail,
        };
        match made {
            Ok(Ok(mail)) => self.mailer.hand_over(mail, step).await,
            Ok(Err(detail)) => refused(detail),
            Err(_) => refused("the mail's text could not be made".to_owned()),
        }
    }

    /// The mail that a message is. `now` is its date only if the message tells none.
    fn mail(&self, message: &Message, now: DateTime<Utc>) -> Result<Mail, String> {
        let subscription = subscription(self.addressing.subscription_id, self.name());
        let content = Content::read(&message.body, &subscription)
            .ok_or("the message is no CloudEvent in JSON, so no mail can be made of it")?;
        let rendered = self
            .templates
            .render(&content)
            .map_err(|fault| fault.to_string())?;
        compose(
            &self.addressing,
            &message.id,
            content.time.unwrap_or(now),
            rendered,
        )
    }

    fn name(&self) -> &str {
        &self.addressing.subscription_name
    }
}

/// What a template sees of its subscription.
fn subscription(id: Uuid, name: &str) -> Value {
    map([
        ("id", Value::from(id.to_string())),
        ("name", Value::from(name)),
    ])
}

impl fmt::Display for RenderFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let piece = self.piece.setting();
        if self.is_built_in {
            write!(f, "the built-in template for {piece}")?;
        } else {
            write!(f, "the template /sink/{piece}")?;
        }
        if let Some(line) = self.line {
            write!(f, ", line {line}")?;
        }
        write!(f, ": {}", self.reason)
    }
}

impl Sink for EmailSink {
    /// Host and port of the mail server, which all mails share; `file`, if they go to files.
    fn host(&self) -> &str {
        self.mailer.host()
    }

    fn send<'a>(
        &'a self,
        message: &'a Message,
        now: DateTime<Utc>,
        timeout: Duration,
    ) -> Attempt<'a> {
        Box::pin(self.attempt(message, now, timeout))
    }
}

impl fmt::Debug for EmailSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EmailSink")
            .field("mailer", &self.mailer)
            .field("subscription", &self.name())
            .finish_non_exhaustive()
    }
}
