//! The CloudEvent that a heartbeat is. Pure.

use chrono::{DateTime, SecondsFormat, Utc};
use uuid::Uuid;

use super::store::Numbers;
use crate::{
    catalog::model::{DEFAULT_SOURCE, HEARTBEAT_EVENT_TYPE},
    publish::event::event_source,
};

/// It has no `sequence`: it is no delivery, and receivers count none for it. The numbers are
/// written as events have them, so that they compare as texts.
pub(super) fn body(id: Uuid, name: &str, numbers: Numbers, now: DateTime<Utc>) -> String {
    // A string always serialises.
    let name = serde_json::to_string(name).unwrap_or_default();
    let at = now.to_rfc3339_opts(SecondsFormat::Micros, true);
    format!(
        concat!(
            r#"{{"specversion":"1.0","id":"{id}","source":"{source}","type":"{kind}","#,
            r#""subject":{name},"time":"{at}","datacontenttype":"application/json","#,
            r#""data":{{"subscription":{name},"assigned":"{assigned:020}","#,
            r#""settled_through":"{settled:020}","at":"{at}"}}}}"#,
        ),
        id = id,
        source = event_source(DEFAULT_SOURCE),
        kind = HEARTBEAT_EVENT_TYPE,
        name = name,
        at = at,
        assigned = numbers.assigned,
        settled = numbers.settled_through,
    )
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn it_is_a_cloud_event_without_a_sequence() {
        let now = DateTime::from_timestamp(1_767_225_600, 0).unwrap();
        let numbers = Numbers {
            subscription_id: Uuid::nil(),
            assigned: 12,
            settled_through: 9,
        };
        let text = body(Uuid::nil(), "erp \"one\"", numbers, now);
        let value: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(
            value,
            json!({
                "specversion": "1.0",
                "id": "00000000-0000-0000-0000-000000000000",
                "source": "/rowcall/default",
                "type": "rowcall.heartbeat",
                "subject": "erp \"one\"",
                "time": "2026-01-01T00:00:00.000000Z",
                "datacontenttype": "application/json",
                "data": {
                    "subscription": "erp \"one\"",
                    "assigned": "00000000000000000012",
                    "settled_through": "00000000000000000009",
                    "at": "2026-01-01T00:00:00.000000Z",
                },
            })
        );
    }
}
