//! The house rules, as tests: what is where in `src`, how it is written, and that what the
//! documents say exists. Each message names the place, the rule, and what to do.

#![expect(clippy::unwrap_used, reason = "in a test that is how to fail")]

#[path = "tidy/house.rs"]
mod house;
#[path = "tidy/papers.rs"]
mod papers;
#[path = "tidy/settings.rs"]
mod settings;
#[path = "tidy/sources.rs"]
mod sources;

/// What breaks a rule, a line each.
#[derive(Default)]
struct Faults(Vec<String>);

impl Faults {
    fn add(&mut self, place: &str, rule: &str, advice: &str) {
        self.0.push(format!("{place}: {rule}; {advice}"));
    }

    #[track_caller]
    fn none(self) {
        assert!(self.0.is_empty(), "\n{}\n", self.0.join("\n"));
    }
}
