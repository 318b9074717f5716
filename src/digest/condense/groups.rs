//! Which groups a digest is divided into: the largest ones up to a limit, and the rest. Pure.

use crate::digest::grouping::NULL;

/// A digest's groups with how many events each has. Their names are JSON: a string or null.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Groups {
    /// In the order of their names; null is the last.
    pub(super) named: Vec<(String, i64)>,
    /// The events of all others together, if there are others.
    pub(super) rest: Option<i64>,
}

impl Groups {
    /// Keeps the `groups_max` groups of `counted` that have the most events. `total` is the number
    /// of all events, those included of groups that `counted` does not name.
    pub(super) fn largest(mut counted: Vec<(String, i64)>, groups_max: usize, total: i64) -> Self {
        counted.sort_unstable_by(|(a, a_events), (b, b_events)| {
            b_events.cmp(a_events).then_with(|| a.cmp(b))
        });
        counted.truncate(groups_max);
        counted.sort_unstable_by(|(a, _), (b, _)| (a == NULL, a).cmp(&(b == NULL, b)));
        let rest = total - counted.iter().map(|(_, events)| events).sum::<i64>();
        Self {
            named: counted,
            rest: (rest > 0).then_some(rest),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn largest(counted: &[(&str, i64)], groups_max: usize) -> (Vec<String>, Option<i64>) {
        let counted: Vec<_> = counted
            .iter()
            .map(|(name, events)| ((*name).to_owned(), *events))
            .collect();
        let total = counted.iter().map(|(_, events)| events).sum();
        let groups = Groups::largest(counted, groups_max, total);
        let named = groups.named.into_iter();
        (
            named
                .map(|(name, events)| format!("{name} {events}"))
                .collect(),
            groups.rest,
        )
    }

    #[test]
    fn groups_are_in_the_order_of_their_names_and_null_is_the_last() {
        let counted = [
            ("null", 5),
            (r#""US""#, 1),
            (r#""EU""#, 9),
            (r#""null""#, 2),
        ];
        let (named, rest) = largest(&counted, 10);
        assert_eq!(named, [r#""EU" 9"#, r#""US" 1"#, r#""null" 2"#, "null 5"]);
        assert_eq!(rest, None);
    }

    #[test]
    fn of_too_many_the_largest_are_kept_and_no_event_is_lost() {
        let counted = [
            (r#""a""#, 2),
            (r#""b""#, 7),
            (r#""c""#, 2),
            ("null", 1),
            (r#""d""#, 5),
        ];
        assert_eq!(
            largest(&counted, 3),
            (
                vec![
                    r#""a" 2"#.to_owned(),
                    r#""b" 7"#.to_owned(),
                    r#""d" 5"#.to_owned()
                ],
                Some(3)
            )
        );
        assert_eq!(largest(&counted, 5).1, None);
        assert_eq!(largest(&[], 5), (Vec::new(), None));
    }
}
