//! The webhook of a subscription, made of its specification and what is kept encrypted of it.

use crate::{
    sink::{WebhookClient, WebhookSink},
    subscription::{credential::headers_of, list::Loaded, model::SinkSpec},
};

/// The sink, or why nothing can be sent, in words for the owner. `origin` names this system to
/// receivers that consented to it.
pub(super) fn webhook(
    client: WebhookClient,
    origin: &str,
    loaded: &Loaded,
) -> Result<WebhookSink, String> {
    let sink = &loaded.subscription.spec.sink;
    let SinkSpec::Webhook { url, .. } = sink else {
        return Err("this is no webhook".to_owned());
    };
    let signer = loaded.secret.clone()?;
    let credentials = loaded.kept.credentials.as_ref().map_err(String::clone)?;
    let headers = headers_of(sink, credentials)?;
    let mut webhook = WebhookSink::new(client, url, signer)
        .map_err(|refusal| refusal.to_string())?
        .with_headers(headers);
    if let Some((previous, until)) = loaded.kept.previous.clone() {
        webhook = webhook.also_signed_by(previous, until);
    }
    Ok(if sink.is_verified() {
        webhook.with_origin(origin)
    } else {
        webhook
    })
}
