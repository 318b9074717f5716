//! `rowcall explain`: tells why an event was, or was not, sent to a subscription.

use std::io::Write as _;

use clap::Args;
use miette::{IntoDiagnostic as _, WrapErr as _, miette};
use secrecy::ExposeSecret as _;
use uuid::Uuid;

use crate::{
    clock::Clock,
    config::{Config, ConfigError},
    db::Database,
    explain::{Answer, Question, explain},
};

/// Tells why an event was, or was not, sent to a subscription
#[derive(Args, Debug)]
pub struct ExplainArgs {
    /// The event's id: `webhook-id`, or `id` in its body
    event: Uuid,
    /// The subscription's name or id
    subscription: String,
    /// Prints the JSON that the API answers
    #[arg(long)]
    json: bool,
}

/// Runs the sub-command.
///
/// # Errors
///
/// If the database can't be reached, or there is no such event or subscription.
pub async fn run(args: ExplainArgs, config: &Config) -> miette::Result<()> {
    let url = config
        .database_url
        .as_ref()
        .ok_or(ConfigError::NoDatabase)?;
    let database = Database::new(url.expose_secret(), 1);
    let question = Question {
        event: args.event,
        subscription: args.subscription.clone(),
        owner: None,
    };
    let now = Clock::System.now();
    let answer = database
        .transaction(move |connection| explain(connection, &question, now))
        .await?;
    let explanation = match answer {
        Answer::Explained(explanation) => explanation,
        Answer::NoEvent => {
            return Err(miette!(
                help = "the id of an event is the header `webhook-id` of what a subscriber got, and \
                        `id` in what GET /v1/events lists",
                "there is no event {}",
                args.event
            ));
        }
        Answer::NoSubscription => {
            return Err(miette!(
                help = "GET /v1/subscriptions lists them",
                "there is no subscription {}",
                args.subscription
            ));
        }
    };
    let text = match args.json {
        true => serde_json::to_string_pretty(&explanation).into_diagnostic()? + "\n",
        false => explanation.to_string(),
    };
    std::io::stdout()
        .lock()
        .write_all(text.as_bytes())
        .into_diagnostic()
        .wrap_err("the answer could not be written")
}
