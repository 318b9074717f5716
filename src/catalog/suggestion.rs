//! What was expected instead of a name that is not known, for a help text.

use crate::nearest::nearest;

/// "did you mean `x`?" or "expected one of ...", for a help text.
pub(super) fn suggestion(name: &str, candidates: &[&str]) -> String {
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
