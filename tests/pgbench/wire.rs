//! What a request says: an update of one object, or a part of a digest. Whatever it should not be
//! is told in words.

use std::fmt;

use axum::{body::Bytes, http::HeaderMap};
use chrono::{DateTime, Utc};
use rowcall::sink::SigningSecret;
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

/// The object types of the bank, with the table, key and balance of each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Object {
    Account,
    Teller,
    Branch,
}

impl Object {
    pub(crate) const ALL: [Self; 3] = [Self::Account, Self::Teller, Self::Branch];

    /// Its table, its key column and its balance column.
    pub(crate) fn columns(self) -> [&'static str; 3] {
        match self {
            Self::Account => ["pgbench_accounts", "aid", "abalance"],
            Self::Teller => ["pgbench_tellers", "tid", "tbalance"],
            Self::Branch => ["pgbench_branches", "bid", "bbalance"],
        }
    }

    fn of_type(object_type: &str) -> Result<Self, String> {
        match object_type {
            "bank.account" => Ok(Self::Account),
            "bank.teller" => Ok(Self::Teller),
            "bank.branch" => Ok(Self::Branch),
            _ => Err(format!(
                "an object type that nobody declared: {object_type}"
            )),
        }
    }

    fn of_event_type(event_type: &str) -> Result<Self, String> {
        event_type.strip_suffix(".updated").map_or_else(
            || Err(format!("an event that nobody made happen: {event_type}")),
            Self::of_type,
        )
    }
}

/// One event: an update of one object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Update {
    pub(crate) id: Uuid,
    pub(crate) object: Object,
    pub(crate) key: i64,
    pub(crate) before: i64,
    pub(crate) after: i64,
}

/// One part of a digest.
#[derive(Clone, Debug)]
pub(crate) struct Part {
    pub(crate) digest: Uuid,
    /// Its number, from 1.
    pub(crate) part: u32,
    /// How many there are.
    pub(crate) parts: u32,
    pub(crate) from: DateTime<Utc>,
    pub(crate) to: DateTime<Utc>,
    /// How many events the whole digest has.
    pub(crate) count: usize,
    pub(crate) content: Content,
}

/// What a part tells; the mode of condensing decides which.
#[derive(Clone, Debug)]
pub(crate) enum Content {
    /// `none`
    Items(Vec<Update>),
    /// `keys`: how many updates of which object.
    Counts(Vec<(Object, i64, usize)>),
    /// `net_effect`
    Effects(Vec<Effect>),
}

/// What the updates of one object came to.
#[derive(Clone, Debug)]
pub(crate) struct Effect {
    pub(crate) object: Object,
    pub(crate) key: i64,
    pub(crate) before: i64,
    pub(crate) after: i64,
    pub(crate) count: usize,
}

/// What a request told of.
#[derive(Clone, Debug)]
pub(crate) enum Told {
    Update(Update),
    Part(Part),
}

/// A request that is what it should be.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    /// As in the header and in the body.
    pub(crate) id: String,
    pub(crate) body_hash: [u8; 32],
    pub(crate) sequence: i64,
    pub(crate) told: Told,
}

impl Request {
    /// Reads a request and checks its signature.
    pub(crate) fn read(
        secret: &SigningSecret,
        subscription: &str,
        headers: &HeaderMap,
        body: &Bytes,
    ) -> Result<Self, String> {
        let header = |name: &str| {
            let value = headers.get(name).and_then(|value| value.to_str().ok());
            value.ok_or_else(|| format!("{name} is missing"))
        };
        let id = header("webhook-id")?;
        let timestamp = header("webhook-timestamp")?;
        let right = secret.sign(id, timestamp.parse().unwrap_or(0), body);
        if header("webhook-signature")? != right {
            return Err(format!("{id} is not signed by its secret"));
        }
        Self::of_body(id, subscription, body).map_err(|error| {
            let text = String::from_utf8_lossy(body);
            format!("{id}: {error}: {text}")
        })
    }

    fn of_body(id: &str, subscription: &str, body: &[u8]) -> Result<Self, String> {
        let outside: Outside = parse(body)?;
        if outside.id != id {
            return Err("another id in the body".to_owned());
        }
        let told = if outside.event_type == "rowcall.digest" {
            let wire: Wire<DigestData> = parse(body)?;
            Told::Part(part(wire.id, subscription, wire.data)?)
        } else {
            Told::Update(update(&parse(body)?)?)
        };
        Ok(Self {
            id: id.to_owned(),
            body_hash: Sha256::digest(body).into(),
            sequence: outside.sequence.parse().map_err(words)?,
            told,
        })
    }
}

fn parse<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, String> {
    serde_json::from_slice(body).map_err(words)
}

fn words<E: fmt::Display>(error: E) -> String {
    error.to_string()
}

#[derive(Deserialize)]
struct Outside<'a> {
    id: &'a str,
    #[serde(rename = "type")]
    event_type: &'a str,
    sequence: &'a str,
}

#[derive(Deserialize)]
struct Wire<'a, T> {
    id: &'a str,
    data: T,
}

#[derive(Deserialize)]
struct Event<'a> {
    id: Uuid,
    #[serde(rename = "type")]
    event_type: &'a str,
    subject: &'a str,
    data: Images,
}

#[derive(Deserialize)]
struct Images {
    before: Row,
    after: Row,
}

/// A row of any of the three tables, of which one column counts.
#[derive(Deserialize)]
struct Row {
    #[serde(alias = "abalance", alias = "tbalance", alias = "bbalance")]
    balance: i64,
}

/// The key of a row of any of the three tables.
#[derive(Deserialize)]
struct Key {
    #[serde(alias = "aid", alias = "tid", alias = "bid")]
    number: i64,
}

#[derive(Deserialize)]
struct DigestData<'a> {
    subscription: &'a str,
    window: Window,
    part: u32,
    parts: u32,
    count: usize,
    #[serde(borrow)]
    items: Option<Vec<Event<'a>>>,
    events: Option<Vec<TypeCount<'a>>>,
    objects: Option<Vec<ObjectEffect<'a>>>,
}

#[derive(Deserialize)]
struct Window {
    from: DateTime<Utc>,
    to: DateTime<Utc>,
}

#[derive(Deserialize)]
struct TypeCount<'a> {
    #[serde(rename = "type")]
    event_type: &'a str,
    object_type: &'a str,
    count: usize,
    keys: Vec<KeyCount>,
}

#[derive(Deserialize)]
struct KeyCount {
    key: Key,
    count: usize,
    first_at: DateTime<Utc>,
    last_at: DateTime<Utc>,
}

#[derive(Deserialize)]
struct ObjectEffect<'a> {
    object_type: &'a str,
    key: Key,
    op: &'a str,
    before: Row,
    after: Row,
    count: usize,
}

fn update(event: &Event<'_>) -> Result<Update, String> {
    Ok(Update {
        id: event.id,
        object: Object::of_event_type(event.event_type)?,
        key: event.subject.parse().map_err(words)?,
        before: event.data.before.balance,
        after: event.data.after.balance,
    })
}

fn part(id: &str, subscription: &str, data: DigestData<'_>) -> Result<Part, String> {
    if data.subscription != subscription {
        return Err(format!("sent to {subscription}"));
    }
    let digest = id
        .strip_suffix(&format!(".{}", data.part))
        .ok_or("the id does not end in the number of the part")?;
    let content = match (data.items, data.events, data.objects) {
        (Some(items), None, None) => {
            Content::Items(items.iter().map(update).collect::<Result<_, _>>()?)
        }
        (None, Some(types), None) => Content::Counts(counts(types)?),
        (None, None, Some(objects)) => {
            Content::Effects(objects.iter().map(effect).collect::<Result<_, _>>()?)
        }
        _ => return Err("not one of `items`, `events` and `objects`".to_owned()),
    };
    Ok(Part {
        digest: digest.parse().map_err(words)?,
        part: data.part,
        parts: data.parts,
        from: data.window.from,
        to: data.window.to,
        count: data.count,
        content,
    })
}

fn counts(types: Vec<TypeCount<'_>>) -> Result<Vec<(Object, i64, usize)>, String> {
    let mut counts = Vec::new();
    for of_type in types {
        let object = Object::of_event_type(of_type.event_type)?;
        if Object::of_type(of_type.object_type)? != object {
            return Err(format!("an event of a {}", of_type.object_type));
        }
        let mut sum = 0;
        for key in of_type.keys {
            if key.first_at > key.last_at || (key.count == 1 && key.first_at != key.last_at) {
                let (number, count) = (key.key.number, key.count);
                let (first, last) = (key.first_at, key.last_at);
                return Err(format!("{count} events of {number} from {first} to {last}"));
            }
            sum += key.count;
            counts.push((object, key.key.number, key.count));
        }
        if sum != of_type.count {
            return Err(format!(
                "{sum} events by their keys, {} by type",
                of_type.count
            ));
        }
    }
    Ok(counts)
}

fn effect(wire: &ObjectEffect<'_>) -> Result<Effect, String> {
    if wire.op != "update" {
        return Err(format!("an object is told with the op {}", wire.op));
    }
    Ok(Effect {
        object: Object::of_type(wire.object_type)?,
        key: wire.key.number,
        before: wire.before.balance,
        after: wire.after.balance,
        count: wire.count,
    })
}
