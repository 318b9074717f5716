//! `/v1/explain`: why an event was, or was not, sent to a subscription.
//!
//! A key of the role subscriber asks about its own subscriptions. It may ask about an event that
//! was not for them, and is told why; the event's values it is told only of those that were.

use axum::{
    Json,
    extract::{RawQuery, State},
};
use uuid::Uuid;

use super::{
    ApiState,
    caller::Caller,
    input::{Parameters, invalid},
    problem::Problem,
};
use crate::{
    auth::Action,
    explain::{Answer, Explanation, Question, explain},
};

const PARAMETERS: [&str; 2] = ["event", "subscription"];

pub(super) async fn show(
    caller: Caller,
    State(state): State<ApiState>,
    RawQuery(query): RawQuery,
) -> Result<Json<Explanation>, Problem> {
    // It shows of both what is shown elsewhere: events, and the filters of subscriptions.
    caller.owner_for(Action::ReadEvents)?;
    let owner = caller.owner_for(Action::ReadSubscriptions)?;
    let question = read(query.as_deref(), owner)?;
    let now = state.clock.now();
    let asked = question.clone();
    let answer = state
        .database
        .transaction(move |connection| Ok::<_, Problem>(explain(connection, &question, now)?))
        .await?;
    match answer {
        Answer::Explained(explanation) => Ok(Json(*explanation)),
        Answer::NoEvent => Err(Problem::not_found("event", asked.event)),
        Answer::NoSubscription => Err(Problem::not_found("subscription", asked.subscription)),
    }
}

fn read(query: Option<&str>, owner: Option<String>) -> Result<Question, Problem> {
    let parameters = Parameters::read(query, &PARAMETERS)?;
    let event = parameters.value("event", |text| {
        Uuid::try_parse(text).map_err(|_| {
            "the id of an event is expected, such as 019c132c-0000-7000-8000-000000000001"
                .to_owned()
        })
    })?;
    let event = event.ok_or_else(|| invalid("event", "it is missing; give the id of an event"))?;
    let subscription = parameters
        .text("subscription")
        .filter(|text| !text.is_empty())
        .ok_or_else(|| {
            let text = "it is missing; give the id or the name of a subscription";
            invalid("subscription", text)
        })?;
    Ok(Question {
        event,
        subscription: subscription.to_owned(),
        owner,
    })
}
