//! What can be wrong with the e-mail sink of a specification. Pure.

use minijinja::Value;
use uuid::Uuid;

use super::{
    address::mailbox,
    content::Content,
    sample,
    settings::MailSettings,
    subscription,
    template::{Piece, Templates},
};
use crate::subscription::model::EmailSpec;

/// The most recipients of a subscription.
pub const RECIPIENTS_MAX: usize = 50;
/// The mode whose messages are digests; the others' are single events.
const DIGEST_MODE: &str = "batch";

/// Everything that is wrong with `spec`, as JSON pointer and text; empty if nothing. `mode` is the
/// subscription's; `settings` are the operator's, `None` if there is no mail server.
#[must_use]
pub fn check_email(
    spec: &EmailSpec,
    mode: &str,
    settings: Option<&MailSettings>,
) -> Vec<(String, String)> {
    let mut problems = Vec::new();
    let mut add = |pointer: &str, message: String| problems.push((pointer.to_owned(), message));
    if settings.is_none() {
        add(
            "/sink",
            "this server sends no mail: set ROWCALL_SMTP_URL and ROWCALL_SMTP_FROM, or use a \
             webhook"
                .to_owned(),
        );
    }
    if spec.to.is_empty() || spec.to.len() > RECIPIENTS_MAX {
        add(
            "/sink/to",
            format!(
                "{} recipients; write 1 to {RECIPIENTS_MAX}, and for more the address of a list",
                spec.to.len()
            ),
        );
    }
    for (index, text) in spec.to.iter().enumerate().take(RECIPIENTS_MAX) {
        let pointer = format!("/sink/to/{index}");
        match mailbox(text) {
            Err(problem) => add(&pointer, problem),
            Ok(read) => {
                let mut before = spec.to[..index]
                    .iter()
                    .filter_map(|text| mailbox(text).ok());
                if before.any(|other| other.email == read.email) {
                    add(&pointer, format!("{} is there twice", read.email));
                }
            }
        }
    }
    if let Some(from) = &spec.from {
        let admitted = mailbox(from)
            .and_then(|from| settings.map_or(Ok(()), |settings| settings.admits_sender(&from)));
        if let Err(problem) = admitted {
            add("/sink/from", problem);
        }
    }
    if let Some(Err(problem)) = spec.reply_to.as_deref().map(mailbox) {
        add("/sink/reply_to", problem);
    }
    if let Some(problem) = template_problem(spec, mode) {
        add("/sink/template", problem);
    }
    match templates(spec) {
        Ok(templates) => problems.extend(tried(&templates, mode)),
        Err(faults) => problems.extend(faults),
    }
    problems
}

fn template_problem(spec: &EmailSpec, mode: &str) -> Option<String> {
    let template = spec.template.as_deref()?;
    if spec.text.is_some() || spec.html.is_some() {
        return Some(
            "`text` and `html` are templates of your own: leave `template` out".to_owned(),
        );
    }
    let (fitting, told) = if mode == DIGEST_MODE {
        ("digest", "digests")
    } else {
        ("event", "single events")
    };
    match template {
        template if template == fitting => None,
        "event" | "digest" => Some(format!(
            "the mode `{mode}` sends {told}: write `{fitting}`, or leave `template` out"
        )),
        other => Some(format!(
            "there is no template {other:?}; built in are `event` and `digest`, and your own go \
             into `text` and `html`"
        )),
    }
}

/// The templates that `spec` brings, or what is wrong with them.
pub(super) fn templates(spec: &EmailSpec) -> Result<Templates, Vec<(String, String)>> {
    let subject = spec.subject.as_deref();
    if subject.is_some_and(|subject| subject.contains(['\r', '\n'])) {
        let message = "a subject is one line: take the line break out".to_owned();
        return Err(vec![("/sink/subject".to_owned(), message)]);
    }
    Templates::compile(subject, spec.text.as_deref(), spec.html.as_deref()).map_err(|faults| {
        let told = faults.into_iter().map(|(piece, fault)| {
            let pointer = format!("/sink/{}", piece.setting());
            (pointer, format!("line {}: {}", fault.line, fault.message))
        });
        told.collect()
    })
}

/// Renders what the mode will send, for a template may be well written and still fail.
fn tried(templates: &Templates, mode: &str) -> Option<(String, String)> {
    let samples: &[&str] = if mode == DIGEST_MODE {
        &sample::DIGESTS
    } else {
        &[sample::EVENT]
    };
    let subscription: Value = subscription(Uuid::nil(), "example");
    samples.iter().find_map(|sample| {
        let content = Content::read(sample.as_bytes(), &subscription)?;
        let fault = match templates.render(&content) {
            Err(fault) => fault,
            Ok(rendered) if rendered.subject.is_empty() => {
                let message = "it says nothing about the sample message".to_owned();
                return Some(("/sink/subject".to_owned(), message));
            }
            Ok(_) => return None,
        };
        let pointer = match fault.piece {
            Piece::Subject => "/sink/subject",
            Piece::Text => "/sink/text",
            Piece::Html => "/sink/html",
        };
        let line = fault
            .line
            .map_or_else(String::new, |line| format!("line {line}: "));
        Some((pointer.to_owned(), line + &fault.reason))
    })
}

#[cfg(test)]
mod tests;
