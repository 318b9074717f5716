//! How many changes one transaction publishes. Pure.
//!
//! A change of a widely wanted object makes thousands of deliveries, and a row may be large. So
//! that memory stays bounded, and the first receipt need not wait for the last of thousands of
//! deliveries to be written, the size of the next batch follows from what became of this one.

/// Deliveries that one transaction is to write. So many can be born claimed while as many are being
/// sent (see [`Outbox::reserve_for_births`](crate::deliver::outbox::Outbox::reserve_for_births)).
pub(super) const DELIVERIES: usize = 2_000;
/// Bytes of the bodies of one transaction's events. The rows' images take as much once more, and so
/// does what is sent to the database.
const BODY_BYTES: usize = 2 * 1024 * 1024;
/// A batch that makes so many times the deliveries is worth being read again in pieces.
const SPLIT_TIMES: usize = 2;

/// What a batch of changes makes.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Portion {
    pub(super) changes: usize,
    pub(super) deliveries: usize,
    pub(super) body_bytes: usize,
}

impl Portion {
    /// How many such changes fit into one transaction; one at least.
    pub(super) fn fitting(self) -> usize {
        let of = |limit: usize, made: usize| {
            limit
                .saturating_mul(self.changes)
                .checked_div(made)
                .unwrap_or(usize::MAX)
        };
        let fitting = of(DELIVERIES, self.deliveries).min(of(BODY_BYTES, self.body_bytes));
        fitting.max(1)
    }

    /// Whether it makes so many deliveries that it is better published in pieces.
    pub(super) fn is_to_be_split(self) -> bool {
        self.changes > 1 && self.deliveries > DELIVERIES * SPLIT_TIMES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn portion(changes: usize, deliveries: usize, body_bytes: usize) -> Portion {
        Portion {
            changes,
            deliveries,
            body_bytes,
        }
    }

    #[test]
    fn as_many_changes_fit_as_their_deliveries_and_their_bytes_do() {
        let kib = 1024;
        for (seen, fitting) in [
            (portion(1_000, 1_000, 450 * kib), 2_000),
            (portion(2_000, 2_000, 8_000 * kib), 512),
            (portion(50, 50_000, 25 * kib), 2),
            (portion(1, 100_000, kib), 1),
            // One row alone is more than is to be taken, and is taken.
            (portion(1, 1, 64 * 1024 * kib), 1),
        ] {
            assert_eq!(seen.fitting(), fitting, "{seen:?}");
        }
        assert_eq!(Portion::default().fitting(), usize::MAX);
    }

    #[test]
    fn only_what_can_be_split_is_and_the_pieces_are_smaller() {
        for (changes, deliveries) in [(2, 4_001), (50, 50_000), (2_000, 2_000_000)] {
            let seen = portion(changes, deliveries, 0);
            assert!(
                seen.is_to_be_split() && seen.fitting() < changes,
                "{seen:?}"
            );
        }
        assert!(!portion(1, 100_000, 0).is_to_be_split());
        assert!(!portion(2_000, 4_000, 0).is_to_be_split());
    }
}
