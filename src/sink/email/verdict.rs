//! What a failed hand-over means: for now or for good, and what somebody can do about it. Pure.
//!
//! A 4xx is for now, a 5xx for good (RFC 5321, section 4.2.1), with three exceptions. What the
//! server says before it has seen the mail's sender is about Rowcall's access, which the operator
//! can mend. 530, 534, 535 and 538 ask for signing in, wherever they come. And 552 to a recipient
//! means that there are too many of them, which the standard wants to be taken for now (section
//! 4.5.3.1.10).
//!
//! Of a server's own words only the codes are repeated.

use std::{error::Error as _, time::Duration};

use super::server::{Failure, Step, cause};
use crate::sink::Outcome;

/// The outcome of a hand-over to `host` that failed at `step`.
pub(super) fn outcome(failure: &Failure, step: Step, host: &str) -> Outcome {
    let (status, enhanced) = match failure {
        Failure::Smtp(error) => (error.status().map(u16::from), enhanced_code(error)),
        Failure::Unexpected(code) => (Some(*code), None),
        _ => (None, None),
    };
    let detail = match (failure, status) {
        (Failure::Smtp(_), Some(code)) => {
            let code = match enhanced {
                Some(enhanced) => format!("{code} {enhanced}"),
                None => code.to_string(),
            };
            format!("{host} answered {code} {}", refused(step))
        }
        (Failure::Unexpected(code), _) => {
            format!("{host} answered {code} {}, which does not fit", place(step))
        }
        (failure, _) => unanswered(failure, step, host),
    };
    match (failure, status) {
        (Failure::Smtp(_), Some(code)) if is_final(code, step) => Outcome::Final { status, detail },
        _ => retry(status, detail),
    }
}

/// The outcome of a hand-over that had not ended after `timeout`.
pub(super) fn timed_out(step: Step, host: &str, timeout: Duration) -> Outcome {
    let after = format!("within {} ms", timeout.as_millis());
    let detail = match step {
        Step::Waiting => format!(
            "no connection to {host} became free {after}: it is slow, or `connections` in \
             ROWCALL_SMTP_URL is too small"
        ),
        Step::Rendering => format!("the mail's text was not made {after}"),
        Step::Connecting => {
            format!("{host} did not accept a connection {after}; check ROWCALL_SMTP_URL")
        }
        Step::Content => format!(
            "{host} did not acknowledge the mail {after}: it may have it; the next attempt carries \
             the same Message-ID"
        ),
        step => format!("{host} did not answer {after} {}", place(step)),
    };
    retry(None, detail)
}

/// Whether a connection that was kept for later use turned out to have ended meanwhile: then the
/// mail is still unknown to the server, and goes over a new one.
pub(super) fn is_stale(failure: &Failure, step: Step) -> bool {
    let Failure::Smtp(error) = failure else {
        return false;
    };
    let code = error.status().map(u16::from);
    step == Step::Sender && (code == Some(421) || code.is_none())
}

fn is_final(code: u16, step: Step) -> bool {
    let about_the_mail = matches!(
        step,
        Step::Sender | Step::Recipient(_) | Step::Announcing | Step::Content
    );
    let wants_login = matches!(code, 530 | 534 | 535 | 538);
    let too_many = code == 552 && matches!(step, Step::Recipient(_));
    code >= 500 && about_the_mail && !wants_login && !too_many
}

fn retry(status: Option<u16>, detail: String) -> Outcome {
    Outcome::Retry {
        status,
        detail,
        retry_after: None,
    }
}

fn place(step: Step) -> String {
    match step {
        Step::Waiting | Step::Rendering | Step::Connecting => "before the connection".to_owned(),
        Step::Greeting => "when it had to greet".to_owned(),
        Step::Encrypting => "to STARTTLS".to_owned(),
        Step::SigningIn => "to user name and password".to_owned(),
        Step::Sender => "to the sender".to_owned(),
        Step::Recipient(index) => format!("to the recipient /sink/to/{index}"),
        Step::Announcing => "to DATA".to_owned(),
        Step::Content => "to the mail".to_owned(),
    }
}

/// Where an error code came, and what to do about it.
fn refused(step: Step) -> String {
    let advice = match step {
        Step::Greeting => "; does it take mail from this machine?",
        Step::SigningIn => "; correct them in ROWCALL_SMTP_URL",
        Step::Sender => "; may ROWCALL_SMTP_URL's user send as ROWCALL_SMTP_FROM?",
        Step::Recipient(_) => {
            "; nobody got this mail: correct the address, then replay the delivery"
        }
        _ => "",
    };
    place(step) + advice
}

/// What to say of a failure that is no answer.
fn unanswered(failure: &Failure, step: Step, host: &str) -> String {
    match failure {
        Failure::Unreachable(error) => {
            format!("{host} can't be reached: {error}; check ROWCALL_SMTP_URL")
        }
        Failure::NoStartTls => format!(
            "{host} does not offer STARTTLS, and nothing is sent unencrypted: write smtps:// if it \
             encrypts from the first byte, or ?tls=none if the way to it is safe"
        ),
        Failure::Tls(reason) => format!(
            "no encrypted connection to {host}: {reason}; a certificate of an own authority is \
             trusted if SSL_CERT_FILE names it"
        ),
        Failure::Smtp(error) if step == Step::SigningIn && error.is_client() => format!(
            "{host} offers neither AUTH PLAIN nor AUTH LOGIN on this connection: take user name and \
             password out of ROWCALL_SMTP_URL, or use the port that is meant for signing in"
        ),
        Failure::Smtp(_) if step == Step::Content => format!(
            "{host} ended the connection before it acknowledged the mail: it may have it; the next \
             attempt carries the same Message-ID"
        ),
        Failure::Smtp(error) if error.is_response() && cause(error) != "incomplete response" => {
            format!("{host} answered something that is not SMTP {}", place(step))
        }
        Failure::Smtp(error) if cause(error).contains("bytes") => {
            format!("{host} {}: {}", place(step), cause(error))
        }
        _ => format!(
            "{host} ended the connection instead of an answer {}",
            place(step)
        ),
    }
}

/// The enhanced status code (RFC 3463) that an answer begins with: digits and two dots.
fn enhanced_code(error: &lettre::transport::smtp::Error) -> Option<String> {
    let text = error.source()?.to_string();
    let first = text.split_whitespace().next()?;
    let parts: Vec<&str> = first.split('.').collect();
    let is_number = |part: &&str| {
        (1..=3).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit())
    };
    (parts.len() == 3 && parts.iter().all(is_number)).then(|| first.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn for_good_is_what_is_said_of_the_mail_itself() {
        let about_the_mail = [
            Step::Sender,
            Step::Recipient(0),
            Step::Announcing,
            Step::Content,
        ];
        for step in about_the_mail {
            for (code, expected) in [
                (550, true),
                (554, true),
                (501, true),
                (421, false),
                (450, false),
                (451, false),
                (530, false),
                (535, false),
            ] {
                assert_eq!(is_final(code, step), expected, "{code} at {step:?}");
            }
        }
        assert!(!is_final(552, Step::Recipient(7)));
        assert!(is_final(552, Step::Content));
        for step in [Step::Greeting, Step::Encrypting, Step::SigningIn] {
            assert!(!is_final(554, step), "{step:?}");
        }
    }

    #[test]
    fn a_deadline_tells_how_far_the_mail_came() {
        for (step, says) in [
            (
                Step::Waiting,
                "no connection to m:25 became free within 300 ms",
            ),
            (Step::Connecting, "did not accept a connection"),
            (Step::Greeting, "within 300 ms when it had to greet"),
            (Step::Recipient(2), "/sink/to/2"),
            (Step::Content, "the same Message-ID"),
        ] {
            match timed_out(step, "m:25", Duration::from_millis(300)) {
                Outcome::Retry {
                    status: None,
                    detail,
                    ..
                } => assert!(detail.contains(says), "{detail}"),
                other => panic!("{other:?}"),
            }
        }
    }
}
