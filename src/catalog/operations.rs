//! Operational events: what Rowcall tells of itself. Their types exist without being written down.
//!
//! Only a pattern that begins with `rowcall.` means them: whoever asked for `*` asked for what
//! happens in the business, and a filter over rows can't be judged on them.

use serde_json::{Value, json};

/// Rowcall has disabled a subscription.
pub const SUBSCRIPTION_DISABLED: &str = "rowcall.subscription.disabled";

/// All of them, by name.
pub const OPERATIONAL_EVENT_TYPES: [&str; 1] = [SUBSCRIPTION_DISABLED];

/// Whether an event type is one of them.
#[must_use]
pub fn is_operational(event_type: &str) -> bool {
    OPERATIONAL_EVENT_TYPES.contains(&event_type)
}

/// Whether a pattern may mean operational events at all.
pub(super) fn means_operations(pattern: &str) -> bool {
    pattern.starts_with("rowcall.")
}

/// What an operational event type tells; `None` if `event_type` is none.
#[must_use]
pub fn operational_description(event_type: &str) -> Option<&'static str> {
    (event_type == SUBSCRIPTION_DISABLED).then_some(
        "Rowcall has disabled a subscription: its receiver answered 410, or none of its attempts \
         succeeded for too long",
    )
}

/// The JSON Schema of the data of an operational event type; `None` if `event_type` is none.
#[must_use]
pub fn operational_schema(event_type: &str) -> Option<Value> {
    (event_type == SUBSCRIPTION_DISABLED).then(|| {
        json!({
            "$schema": super::data_schema::DIALECT,
            "title": SUBSCRIPTION_DISABLED,
            "type": "object",
            "required": ["subscription", "reason", "since", "failures"],
            "properties": {
                "subscription": {
                    "type": "object",
                    "required": ["id", "name"],
                    "properties": {
                        "id": {"type": "string", "format": "uuid"},
                        "name": {"type": "string"},
                    },
                },
                "reason": {"type": "string"},
                "since": {"type": "string", "format": "date-time"},
                "failures": {"type": "integer", "minimum": 1},
            },
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::model::name_matches;

    #[test]
    fn only_a_pattern_that_begins_with_rowcall_means_them() {
        for (pattern, expected) in [
            ("rowcall.subscription.disabled", true),
            ("rowcall.subscription.*", true),
            ("rowcall.*", true),
            ("*", false),
            ("*.disabled", false),
            ("row*", false),
            ("rowcall.capture.*", false),
        ] {
            let found = name_matches(pattern, SUBSCRIPTION_DISABLED);
            assert_eq!(found, expected, "{pattern}");
        }
        // A gap is told to whoever asks for everything.
        assert!(name_matches("*", crate::catalog::model::GAP_EVENT_TYPE));
    }

    #[test]
    fn each_has_a_description_and_a_schema() {
        for event_type in OPERATIONAL_EVENT_TYPES {
            assert!(
                operational_description(event_type).is_some(),
                "{event_type}"
            );
            assert!(operational_schema(event_type).is_some(), "{event_type}");
        }
        assert_eq!(operational_schema("sales.order.created"), None);
    }
}
