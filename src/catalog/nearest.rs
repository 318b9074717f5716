//! The nearest name to one that is not known, for "did you mean".

/// How alike two names must be, from 0 (nothing in common) to 1 (equal). At 0.55 two letters of a
/// four-letter name may be wrong; below it the suggestions become guesses.
const LIKENESS_MIN: f64 = 0.55;

/// The candidate that is most like `name`, if one is like it at all. Upper and lower case are alike.
pub fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let name = name.to_lowercase();
    candidates
        .into_iter()
        .map(|candidate| (likeness(&name, &candidate.to_lowercase()), candidate))
        .filter(|(likeness, _)| *likeness >= LIKENESS_MIN)
        // Of equals the first one wins, so that the answer does not depend on luck.
        .reduce(|best, next| if next.0 > best.0 { next } else { best })
        .map(|(_, candidate)| candidate)
}

fn likeness(left: &str, right: &str) -> f64 {
    // `order` and `orders`, `note` and `internal_note`: a part is nearer than its distance says.
    let shorter = left.len().min(right.len());
    let part = shorter >= 3 && (left.contains(right) || right.contains(left));
    let distance = strsim::normalized_damerau_levenshtein(left, right);
    if part {
        distance.max(LIKENESS_MIN)
    } else {
        distance
    }
}

/// "did you mean `x`?" or "expected one of ...", for a help text.
pub fn suggestion(name: &str, candidates: &[&str]) -> String {
    /// More names than this in a help text are noise.
    const LISTED_MAX: usize = 20;
    let mut text = match nearest(name, candidates.iter().copied()) {
        Some(near) => format!("did you mean `{near}`? "),
        None => String::new(),
    };
    let listed: Vec<String> = candidates
        .iter()
        .take(LISTED_MAX)
        .map(|candidate| format!("`{candidate}`"))
        .collect();
    let rest = candidates.len().saturating_sub(LISTED_MAX);
    match (listed.len(), rest) {
        (0, _) => {}
        (1, _) => text.push_str(&format!("expected {}", listed[0])),
        (_, 0) => text.push_str(&format!("expected one of {}", listed.join(", "))),
        (_, rest) => text.push_str(&format!(
            "expected one of {} and {rest} more",
            listed.join(", ")
        )),
    }
    text.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_found_and_a_stranger_is_not() {
        let names = ["namespace", "object_type", "subscription"];
        for (name, expected) in [
            ("objecttype", Some("object_type")),
            ("Object_Type", Some("object_type")),
            ("subscribtion", Some("subscription")),
            ("namespaces", Some("namespace")),
            ("constraint", None),
            ("event_type", Some("object_type")),
            ("", None),
        ] {
            assert_eq!(nearest(name, names), expected, "{name}");
        }
        assert_eq!(
            nearest("note", ["id", "internal_note"]),
            Some("internal_note")
        );
    }

    #[test]
    fn a_suggestion_names_the_nearest_and_what_was_expected() {
        assert_eq!(
            suggestion("exclud", &["exclude", "mask"]),
            "did you mean `exclude`? expected one of `exclude`, `mask`"
        );
        assert_eq!(suggestion("zzz", &["id"]), "expected `id`");
        assert_eq!(suggestion("zzz", &[]), "");
        let names: Vec<String> = (0..30).map(|n| format!("c{n}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        assert!(suggestion("zzz", &names).ends_with("`c19` and 10 more"));
    }
}
