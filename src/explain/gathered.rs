//! What became of an event that is in a digest. Pure.

use super::{
    About, Step, Told, Values, Verdict,
    owed::{Delivery, Party, judgement, store::JudgementRow},
    shown,
    store::MemberRow,
};

/// The digest that an event is in.
#[derive(Clone, Debug)]
pub(super) struct Digest {
    pub(super) member: MemberRow,
    /// What constraints said of the event before it was gathered.
    pub(super) judgements: Vec<JudgementRow>,
    /// A part tells of the event; known only once it is condensed.
    pub(super) is_told: bool,
    /// The part that decides what became of the digest.
    pub(super) part: Option<Delivery>,
    /// How many events close it, by the schedule as it is now.
    pub(super) max_items: Option<u32>,
}

impl Digest {
    /// What became of it.
    pub(super) fn told(&self, party: &Party) -> Told {
        let (verdict, detail) = self.state();
        let member = &self.member;
        let values = Values::default()
            .with("digest", member.digest_id)
            .with("number", member.number)
            .with("count", member.events)
            .with("vanished", member.vanished)
            .with("parts", member.parts)
            .with(
                "close_at",
                member.close_at.filter(|_| member.state == "open"),
            )
            .with("closed_at", member.closed_at)
            .with("closed_by", &member.closed_by);
        let mut steps: Vec<Step> = self.judgements.iter().map(judgement).collect();
        steps.push(Step::new(About::Digest, &*member.state, &*detail).with(values));
        match (&self.part, verdict) {
            (Some(part), Verdict::InDigest) => {
                let part = part.told(party);
                steps.extend(part.steps);
                Told {
                    verdict: match part.verdict {
                        Verdict::Pending => Verdict::InDigest,
                        other => other,
                    },
                    summary: format!("{}; {detail}.", part.summary.trim_end_matches('.')),
                    steps,
                }
            }
            _ => Told {
                verdict,
                summary: summary(verdict, &detail),
                steps,
            },
        }
    }

    fn state(&self) -> (Verdict, String) {
        let member = &self.member;
        let closed = match (member.closed_at, &member.closed_by) {
            (Some(at), Some(by)) => format!("closed at {} by {by}", shown(at)),
            _ => "closed".to_owned(),
        };
        let number = member
            .number
            .map_or_else(String::new, |number| format!(" {number}"));
        match member.state.as_str() {
            "open" => {
                let at = member.close_at.map(|at| format!("at {}", shown(at)));
                let full = self
                    .max_items
                    .map(|items| format!("when it has {items} events"));
                let when: Vec<String> = at.into_iter().chain(full).collect();
                let when = match when.is_empty() {
                    true => "when its schedule says so".to_owned(),
                    false => when.join(" or "),
                };
                let count = match member.events {
                    1 => "1 event".to_owned(),
                    events => format!("{events} events"),
                };
                let text = format!("it is in the open digest, which has {count} and closes {when}");
                (Verdict::InDigest, text)
            }
            "closed" => (
                Verdict::InDigest,
                format!("it is in the digest{number}, {closed}, which is to be condensed"),
            ),
            "cancelled" => (
                Verdict::Cancelled,
                format!("its subscription was deleted before the digest{number} was sent"),
            ),
            _ if !self.is_told => (
                Verdict::Condensed,
                format!(
                    "the digest{number}, {closed}, does not tell of it: what was done to its object \
                     was undone, or the filter does not want what it came to"
                ),
            ),
            _ => (
                Verdict::InDigest,
                format!(
                    "it is in the digest{number}, {closed}, in {}",
                    match member.parts {
                        Some(1) | None => "one part".to_owned(),
                        Some(parts) => format!("{parts} parts"),
                    }
                ),
            ),
        }
    }
}

fn summary(verdict: Verdict, detail: &str) -> String {
    match verdict {
        Verdict::InDigest => format!("Not sent yet: {detail}."),
        _ => format!("Not sent: {detail}."),
    }
}
