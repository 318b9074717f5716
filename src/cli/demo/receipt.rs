//! A request as a receiver must read it: signature and timestamp first, then the event. What a
//! digest holds is read by `digest`.

use axum::http::HeaderMap;
use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use uuid::Uuid;

use super::{subscribers::RELEASED, writers::ACTOR};
use crate::sink::SigningSecret;

/// How far a request's timestamp may be from our clock, in seconds (Standard Webhooks' libraries).
const TIMESTAMP_TOLERANCE_S: i64 = 5 * 60;

/// An event as a receiver read it.
#[derive(Debug)]
pub(super) struct Receipt {
    pub(super) id: Uuid,
    /// Object type and object key, parted by a slash.
    pub(super) object: String,
    pub(super) event_type: String,
    /// The total of a released order.
    pub(super) cents: Option<i64>,
    pub(super) xid: i64,
    /// Whether the row was written by a writer of the demo, not by hand.
    pub(super) is_ours: bool,
    pub(super) before: Print,
    pub(super) after: Print,
    pub(super) body: Print,
}

/// The fingerprint of some bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Print([u8; 16]);

impl Print {
    pub(super) fn of(bytes: &[u8]) -> Self {
        let digest = Sha256::digest(bytes);
        let mut print = [0; 16];
        print.copy_from_slice(&digest[..16]);
        Self(print)
    }

    /// Of a row as it was before or after.
    pub(super) fn of_image(image: Option<&RawValue>) -> Self {
        Self::of(image.map_or("null", RawValue::get).as_bytes())
    }
}

/// An event by what it tells of: its transaction, object and type.
pub(super) type Name = (i64, String, String);

impl Receipt {
    pub(super) fn name(&self) -> Name {
        (self.xid, self.object.clone(), self.event_type.clone())
    }
}

/// The id of a request whose signature and timestamp are right; or what is wrong.
pub(super) fn verify<'a>(
    secret: &SigningSecret,
    headers: &'a HeaderMap,
    body: &[u8],
    now: DateTime<Utc>,
) -> Result<&'a str, String> {
    let header = |name: &str| {
        let value = headers.get(name).and_then(|value| value.to_str().ok());
        value.ok_or_else(|| format!("the header {name} is missing"))
    };
    let (id, timestamp) = (header("webhook-id")?, header("webhook-timestamp")?);
    let seconds: i64 = timestamp
        .parse()
        .map_err(|_| "webhook-timestamp is no number".to_owned())?;
    if now.timestamp().abs_diff(seconds) > TIMESTAMP_TOLERANCE_S.unsigned_abs() {
        return Err("webhook-timestamp is too far from the present".to_owned());
    }
    let right = secret.sign(id, seconds, body);
    let is_signed = header("webhook-signature")?
        .split(' ')
        .any(|given| given.as_bytes().ct_eq(right.as_bytes()).into());
    if !is_signed {
        return Err("no signature is right".to_owned());
    }
    Ok(id)
}

/// What the demo reads of an event.
#[derive(Deserialize)]
struct EventBody<'a> {
    id: Uuid,
    r#type: String,
    subject: Option<String>,
    #[serde(borrow)]
    data: EventData<'a>,
}

#[derive(Deserialize)]
struct EventData<'a> {
    object_type: String,
    xid: String,
    actor: Option<String>,
    #[serde(borrow)]
    before: Option<&'a RawValue>,
    #[serde(borrow)]
    after: Option<&'a RawValue>,
}

/// Reads an event whose `webhook-id` was `id`; or says what is wrong with it.
pub(super) fn read(id: &str, body: &[u8]) -> Result<Receipt, String> {
    let event: EventBody<'_> =
        serde_json::from_slice(body).map_err(|error| format!("the body can't be read: {error}"))?;
    if event.id.to_string() != id {
        return Err("webhook-id is not the event's id".to_owned());
    }
    let data = event.data;
    let is_released = event.r#type == RELEASED;
    Ok(Receipt {
        id: event.id,
        object: format!("{}/{}", data.object_type, event.subject.unwrap_or_default()),
        cents: data.after.filter(|_| is_released).and_then(cents),
        event_type: event.r#type,
        xid: data.xid.parse().unwrap_or_default(),
        is_ours: data.actor.is_some_and(|actor| actor.starts_with(ACTOR)),
        before: Print::of_image(data.before),
        after: Print::of_image(data.after),
        body: Print::of(body),
    })
}

/// The total of an order's row in cents, of which a column of two decimals has whole ones.
fn cents(row: &RawValue) -> Option<i64> {
    #[derive(Deserialize)]
    struct Order {
        total: f64,
    }
    let order: Order = serde_json::from_str(row.get()).ok()?;
    Some((order.total * 100.0).round() as i64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;

    const BODY: &str = concat!(
        r#"{"specversion":"1.0","id":"01a1ff9d-ecdb-7579-a718-646930f087ee","source":"/rowcall/default","#,
        r#""type":"shop.customer.updated","subject":"1","data":{"object_type":"shop.customer","#,
        r#""key":{"id":1},"op":"update","before":{"a": 1},"after":{"a": 2},"changed":["a"],"#,
        r#""actor":"demo-writer-1","xid":"77"},"sequence":"00000000000000000001"}"#
    );
    const ID: &str = "01a1ff9d-ecdb-7579-a718-646930f087ee";

    fn headers(id: &str, timestamp: i64, signature: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert("webhook-id", id.parse().unwrap());
        headers.insert("webhook-timestamp", timestamp.to_string().parse().unwrap());
        headers.insert("webhook-signature", signature.parse().unwrap());
        headers
    }

    #[test]
    fn a_signed_event_is_read() {
        let secret = SigningSecret::generate().unwrap();
        let time = Clock::System.now();
        let now = time.timestamp();
        let signature = secret.sign(ID, now, BODY.as_bytes());
        let both = format!("v1,bm90IHRoaXM= {signature}");
        let headers = headers(ID, now, &both);
        let id = verify(&secret, &headers, BODY.as_bytes(), time).unwrap();
        let receipt = read(id, BODY.as_bytes()).unwrap();
        assert_eq!(receipt.object, "shop.customer/1");
        assert_eq!(receipt.name().2, "shop.customer.updated");
        assert_eq!((receipt.xid, receipt.cents), (77, None));
        assert!(receipt.is_ours);
        assert_eq!(receipt.after, Print::of(br#"{"a": 2}"#));
    }

    #[test]
    fn another_body_an_old_timestamp_and_another_id_are_refused() {
        let secret = SigningSecret::generate().unwrap();
        let time = Clock::System.now();
        let now = time.timestamp();
        let sign = |id: &str, at| secret.sign(id, at, BODY.as_bytes());
        let refusal = |id: &str, at, signature: &str, body: &str| {
            let headers = headers(id, at, signature);
            let id = verify(&secret, &headers, body.as_bytes(), time);
            id.and_then(|id| read(id, body.as_bytes())).unwrap_err()
        };
        let other_body = BODY.replace('2', "3");
        assert!(refusal(ID, now, &sign(ID, now), &other_body).contains("signature"));
        let old = now - TIMESTAMP_TOLERANCE_S - 1;
        assert!(refusal(ID, old, &sign(ID, old), BODY).contains("timestamp"));
        let other = "01a1ff9d-ecdb-7579-a718-646930f087ef";
        assert!(refusal(other, now, &sign(other, now), BODY).contains("webhook-id"));
    }

    #[test]
    fn the_total_of_a_released_order_is_read_in_cents() {
        let released = BODY
            .replace("shop.customer.updated", RELEASED)
            .replace(r#"{"a": 2}"#, r#"{"id" : 1, "total" : 99.99}"#);
        assert_eq!(read(ID, released.as_bytes()).unwrap().cents, Some(9_999));
    }
}
