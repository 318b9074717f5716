//! "Did you mean": the known name that a mistyped one most resembles.

/// How much of the longer name may differ before a suggestion would only confuse: a third.
const DIFFERENCE_MAX: f64 = 0.34;

/// The candidate nearest to `name`, if one is near enough to be what was meant. Case does not
/// count.
pub fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let wanted = name.to_lowercase();
    candidates
        .into_iter()
        .map(|candidate| {
            let known = candidate.to_lowercase();
            (
                strsim::normalized_damerau_levenshtein(&wanted, &known),
                candidate,
            )
        })
        .filter(|(likeness, _)| *likeness >= 1.0 - DIFFERENCE_MAX)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, candidate)| candidate)
}

/// `; did you mean ...?`, or nothing: for the end of a message.
pub fn did_you_mean<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> String {
    nearest(name, candidates).map_or_else(String::new, |near| format!("; did you mean `{near}`?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_recognised_and_a_stranger_is_not() {
        let names = ["event_types", "object_types", "mode"];
        assert_eq!(nearest("event_type", names), Some("event_types"));
        assert_eq!(nearest("Mdoe", names), Some("mode"));
        assert_eq!(nearest("zebra", names), None);
        assert_eq!(
            did_you_mean("objct_types", names),
            "; did you mean `object_types`?"
        );
    }
}
