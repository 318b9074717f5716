//! What can be judged of a webhook without the database. Pure.

use super::{
    check::{SpecProblem, secret_advice},
    header_check::check_headers,
    model::{SecretSpec, SinkSpec},
};
use crate::sink::{AddressGuard, Signer, check_url};

/// Adds what is wrong with `sink`, if it is a webhook.
pub(super) fn check_webhook(
    sink: &SinkSpec,
    guard: &AddressGuard,
    problems: &mut Vec<SpecProblem>,
) {
    let SinkSpec::Webhook {
        url,
        secret,
        signature,
        headers,
        bearer,
        basic,
        ..
    } = sink
    else {
        return;
    };
    if let Err(refusal) = check_url(url, guard) {
        problems.push(SpecProblem::new("/sink/url", refusal.to_string()));
    }
    if let Some(SecretSpec::Value(text)) = secret
        && let Err(error) = Signer::parse(*signature, text)
    {
        problems.push(SpecProblem::new(
            "/sink/secret",
            secret_advice(&error.to_string()),
        ));
    }
    check_headers(headers, bearer.as_ref(), basic.as_ref(), problems);
}
