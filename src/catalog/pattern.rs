//! Patterns of names. Pure.

use super::operations::{is_operational, means_operations};

/// Whether the name of an event type or an object type matches `pattern`, in which `*` stands for
/// any run of characters, dots included. Operational event types want to be asked for: see
/// [`operations`](super::operations).
#[must_use]
pub fn name_matches(pattern: &str, name: &str) -> bool {
    (!is_operational(name) || means_operations(pattern)) && text_matches(pattern, name)
}

/// Whether any name matches `pattern`, in which `*` stands for any run of characters.
#[must_use]
pub fn text_matches(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = name.strip_prefix(first) else {
        return false;
    };
    let Some(last) = pattern.rsplit_once('*').map(|(_, last)| last) else {
        return rest.is_empty();
    };
    let middle: Vec<&str> = parts.collect();
    // The parts between stars are taken at their first place; what follows the last star must end
    // the name.
    for part in &middle[..middle.len() - 1] {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_cross_dots_and_match_whole_names() {
        for (pattern, name, expected) in [
            ("sales.order.created", "sales.order.created", true),
            ("sales.order.created", "sales.order.created2", false),
            ("sales.*", "sales.eu.order.created", true),
            ("*", "anything.at.all", true),
            ("*.deleted", "sales.order.deleted", true),
            ("*.deleted", "sales.order.deleted.again", false),
            ("s*r.*d", "sales.order.created", true),
            ("sales.order.*", "sales.orders.created", false),
            ("a*a", "a", false),
            ("**", "x", true),
            ("", "", true),
        ] {
            assert_eq!(
                name_matches(pattern, name),
                expected,
                "{pattern} against {name}"
            );
        }
    }
}
