//! Heartbeats: how often a receiver asks to be told how far its numbers go.

use std::time::Duration;

use super::{
    check::SpecProblem,
    model::{SinkSpec, SubscriptionSpec},
};

/// The shortest time between two heartbeats: each is a request of its own.
pub const HEARTBEAT_MIN: Duration = Duration::from_secs(5);
/// The longest.
pub const HEARTBEAT_MAX: Duration = Duration::from_secs(24 * 3600);

pub(super) fn check_heartbeat(spec: &SubscriptionSpec, problems: &mut Vec<SpecProblem>) {
    let Some(every) = spec.heartbeat else { return };
    if !matches!(spec.sink, SinkSpec::Webhook { .. }) {
        problems.push(SpecProblem::new(
            "/heartbeat",
            format!(
                "a heartbeat is for programs that count what they get, and goes to a webhook; this \
                 sink is of the kind `{}`: leave `heartbeat` out",
                spec.sink.kind()
            ),
        ));
    }
    if !(HEARTBEAT_MIN..=HEARTBEAT_MAX).contains(&every) {
        problems.push(SpecProblem::new(
            "/heartbeat",
            format!(
                "{} is not from {} to {}; write how often it is sent, such as \"30s\"",
                humantime::format_duration(every),
                humantime::format_duration(HEARTBEAT_MIN),
                humantime::format_duration(HEARTBEAT_MAX)
            ),
        ));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn problems(heartbeat: &str, sink: &serde_json::Value) -> Vec<String> {
        let spec = json!({"event_types": ["*"], "mode": "synchronous", "sink": sink,
            "heartbeat": heartbeat});
        let mut problems = Vec::new();
        check_heartbeat(&serde_json::from_value(spec).unwrap(), &mut problems);
        problems.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_heartbeat_has_bounds_and_goes_to_webhooks() {
        let webhook = json!({"kind": "webhook", "url": "https://erp.example.com/"});
        for fine in ["5s", "30s", "1day", "24h"] {
            assert!(problems(fine, &webhook).is_empty(), "{fine}");
        }
        for wrong in ["0s", "4999ms", "25h"] {
            let found = problems(wrong, &webhook);
            assert!(
                found[0].contains("is not from 5s to 1day"),
                "{wrong}: {found:?}"
            );
        }
        let email = json!({"kind": "email", "to": ["ada@example.com"]});
        let found = problems("30s", &email);
        assert!(
            found[0].contains("/heartbeat: a heartbeat is for"),
            "{found:?}"
        );
        assert_eq!(found.len(), 1);
    }
}
