//! The members of a digest: one after the other, or grouped by what happened to which object.

mod store;

pub(super) use self::store::{group_close, group_count, group_fetch, group_open, member_page};
use crate::{digest::grouping::NULL, expr::literal};

/// Members of a digest that are told together.
#[derive(Clone, Copy, Debug)]
pub(super) enum Share<'a> {
    /// All of them.
    All,
    /// Those of the group of this name, which is JSON.
    Group(&'a str),
    /// Those of all other groups than these.
    Rest(&'a [&'a str]),
}

impl Share<'_> {
    /// As SQL over a member. What was gathered before its subscriber grouped is in that of null.
    pub(super) fn condition(&self) -> String {
        match self {
            Self::All => "true".to_owned(),
            Self::Group(NULL) => format!("coalesce(grouping, '{NULL}') = '{NULL}'"),
            Self::Group(name) => format!("grouping = {}", literal(name)),
            Self::Rest(others) => {
                let others: Vec<String> = others.iter().map(|name| literal(name)).collect();
                let others = others.join(", ");
                format!("coalesce(grouping, '{NULL}') <> all (array[{others}]::text[])")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_groups_name_is_quoted() {
        let name = r#""it's \\ \"quoted\"""#;
        assert_eq!(
            Share::Group(name).condition(),
            r#"grouping = E'"it''s \\\\ \\"quoted\\""'"#
        );
        assert_eq!(
            Share::Rest(&["null", r#""a""#]).condition(),
            r#"coalesce(grouping, 'null') <> all (array['null', '"a"']::text[])"#
        );
    }
}
