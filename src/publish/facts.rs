//! What expressions are judged over: the facts of a change, and of an event that was stored.

use std::borrow::Cow;

use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::{
    capture::image::Image,
    expr::{EventFacts, Facts, Verdict},
    observe::metrics::CONDITIONS_FAILED,
};

/// The rows of a change, parsed as far as expressions need it.
#[derive(Debug, Default)]
pub struct Rows<'a> {
    /// Before it.
    pub before: Option<Image<'a>>,
    /// After it.
    pub after: Option<Image<'a>>,
}

impl<'a> Rows<'a> {
    /// Reads the images of a change. What is none is as if it were not there.
    #[must_use]
    pub fn parse(before: Option<&'a str>, after: Option<&'a str>) -> Self {
        let image = |text: Option<&'a str>| text.and_then(|text| Image::parse(text).ok());
        Self {
            before: image(before),
            after: image(after),
        }
    }

    /// The columns whose values differ.
    #[must_use]
    pub fn changed(&self) -> Vec<&str> {
        match (&self.before, &self.after) {
            (Some(before), Some(after)) => after.changed_since(before),
            _ => Vec::new(),
        }
    }
}

/// Whether a condition is true. One that fails is not: that is counted, and told in the log.
#[must_use]
pub fn holds(verdict: Verdict, kind: &'static str, name: &str) -> bool {
    match verdict {
        Verdict::True => true,
        Verdict::False => false,
        Verdict::Failed(failure) => {
            metrics::counter!(CONDITIONS_FAILED, "kind" => kind).increment(1);
            tracing::debug!(kind, name, %failure, "a condition failed, which counts as false");
            false
        }
    }
}

/// An event read back from its body.
#[derive(Debug)]
pub struct Recalled<'a> {
    envelope: Envelope<'a, &'a RawValue>,
    data: Option<RowData<'a>>,
    rows: Rows<'a>,
}

/// What an event says of itself, and its data, read as `D` in one go.
#[derive(Debug, Deserialize)]
struct Envelope<'a, D> {
    #[serde(borrow)]
    id: Cow<'a, str>,
    #[serde(borrow)]
    source: Cow<'a, str>,
    #[serde(borrow)]
    r#type: Cow<'a, str>,
    #[serde(borrow)]
    subject: Option<Cow<'a, str>>,
    time: DateTime<Utc>,
    data: Option<D>,
}

impl<'a, D> Envelope<'a, D> {
    /// Apart from its data.
    fn split<E>(self) -> (Envelope<'a, E>, Option<D>) {
        let envelope = Envelope {
            id: self.id,
            source: self.source,
            r#type: self.r#type,
            subject: self.subject,
            time: self.time,
            data: None,
        };
        (envelope, self.data)
    }
}

#[derive(Debug, Deserialize)]
struct RowData<'a> {
    #[serde(borrow)]
    object_type: Cow<'a, str>,
    #[serde(borrow)]
    op: Cow<'a, str>,
    #[serde(borrow)]
    before: Option<Image<'a>>,
    #[serde(borrow)]
    after: Option<Image<'a>>,
    #[serde(borrow)]
    actor: Option<Cow<'a, str>>,
}

impl<'a> Recalled<'a> {
    /// Reads the body of an event of an object type, or of one that came through the API.
    ///
    /// # Errors
    ///
    /// If the body is none that Rowcall wrote.
    pub fn parse(body: &'a str, is_of_object: bool) -> Result<Self, serde_json::Error> {
        if !is_of_object {
            return Ok(Self {
                envelope: serde_json::from_str(body)?,
                data: None,
                rows: Rows::default(),
            });
        }
        let envelope: Envelope<'a, RowData<'a>> = serde_json::from_str(body)?;
        let (envelope, mut data) = envelope.split();
        let rows = data.as_mut().map_or_else(Rows::default, |data| Rows {
            before: data.before.take(),
            after: data.after.take(),
        });
        Ok(Self {
            envelope,
            data,
            rows,
        })
    }

    /// The columns whose values differ.
    #[must_use]
    pub fn changed(&self) -> Vec<&str> {
        self.rows.changed()
    }

    /// When the change was made.
    #[must_use]
    pub fn time(&self) -> DateTime<Utc> {
        self.envelope.time
    }

    /// The event type's name.
    #[must_use]
    pub fn event_type(&self) -> &str {
        &self.envelope.r#type
    }

    /// The object type's name.
    #[must_use]
    pub fn object_type(&self) -> Option<&str> {
        self.data.as_ref().map(|data| &*data.object_type)
    }

    /// The facts for a judgement at `now`; `changed` is what [`Recalled::changed`] gave.
    #[must_use]
    pub fn facts<'b>(&'b self, changed: &'b [&'b str], now: DateTime<Utc>) -> Facts<'b> {
        let data = self.data.as_ref();
        Facts {
            before: self.rows.before.as_ref(),
            after: self.rows.after.as_ref(),
            changed,
            op: data.map_or("", |data| &*data.op),
            event: EventFacts {
                id: &self.envelope.id,
                event_type: &self.envelope.r#type,
                object_type: data.map(|data| &*data.object_type),
                source: &self.envelope.source,
                subject: self.envelope.subject.as_deref(),
                time: self.envelope.time,
                data: match data {
                    None => self.envelope.data.map(RawValue::get),
                    Some(_) => None,
                },
            },
            subscription: None,
            now,
            actor: data.and_then(|data| data.actor.as_deref()),
        }
    }
}
