//! The grammar of names: parts of `[a-z][a-z0-9_-]*`, joined by dots.

/// The longest name of a namespace or object type, in characters. The longest event type is then
/// well below the 255 characters that message brokers allow a topic.
pub const NAME_CHARS_MAX: usize = 128;

/// How deep the catalogue tree may be.
pub const NAME_PARTS_MAX: usize = 8;

/// Rowcall's own events live here.
pub const RESERVED_NAMESPACE: &str = "rowcall";

/// Says what is wrong with the name of a namespace or object type, if anything is.
pub fn name_fault(name: &str) -> Option<String> {
    if name.chars().count() > NAME_CHARS_MAX {
        return Some(format!(
            "the name is longer than {NAME_CHARS_MAX} characters"
        ));
    }
    if name.split('.').count() > NAME_PARTS_MAX {
        return Some(format!("the name has more than {NAME_PARTS_MAX} parts"));
    }
    if name.split('.').next() == Some(RESERVED_NAMESPACE) {
        return Some(format!(
            "the namespace `{RESERVED_NAMESPACE}` is reserved for Rowcall's own events"
        ));
    }
    let part = name.split('.').find(|part| !is_part(part))?;
    Some(if part.is_empty() {
        format!("`{name}` has an empty part")
    } else {
        format!("`{part}` is not a name")
    })
}

/// What [`name_fault`] expects, for a help text.
pub const NAME_HELP: &str = "names are lower-case letters, digits, `_` and `-`, begin with a \
    letter, and are joined by dots";

fn is_part(part: &str) -> bool {
    let mut bytes = part.bytes();
    bytes.next().is_some_and(|first| first.is_ascii_lowercase())
        && bytes
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-".contains(&byte))
}

/// The namespace around a name: `sales.eu` for `sales.eu.order`, none for `sales`.
#[must_use]
pub fn parent(name: &str) -> Option<&str> {
    name.rsplit_once('.').map(|(parent, _)| parent)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_parts_joined_by_dots() {
        for (name, fault) in [
            ("sales", None),
            ("sales.eu-2.big_order", None),
            ("Sales", Some("`Sales` is not a name")),
            ("sales.2x", Some("`2x` is not a name")),
            ("sales..x", Some("`sales..x` has an empty part")),
            ("", Some("`` has an empty part")),
            ("größe", Some("`größe` is not a name")),
            ("a.b.c.d.e.f.g.h.i", Some("the name has more than 8 parts")),
            (
                "rowcall.x",
                Some("the namespace `rowcall` is reserved for Rowcall's own events"),
            ),
            ("rowcalls", None),
        ] {
            assert_eq!(name_fault(name).as_deref(), fault, "{name}");
        }
        assert!(name_fault(&"a".repeat(129)).is_some());
        assert_eq!(parent("sales.eu.order"), Some("sales.eu"));
        assert_eq!(parent("sales"), None);
    }
}
