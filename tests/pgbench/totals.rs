//! Compares all digests of a subscription together with what was committed, without asking Rowcall
//! which event is in which. Pure.

use std::collections::HashMap;

use chrono::DateTime;

use crate::{
    bank::Transfer,
    digests::Digest,
    ledger::Receipt,
    oracle::Faults,
    wire::{Content, Object},
};

/// The items of digests as if each had been sent alone, in their order.
pub(crate) fn as_receipts(subscription: &str, digests: &[Digest]) -> Vec<Receipt> {
    let items = digests
        .iter()
        .flat_map(|digest| match &digest.whole.content {
            Content::Items(items) => items.as_slice(),
            _ => &[],
        });
    let receipt = |(sequence, update): (i64, &_)| Receipt {
        subscription: subscription.to_owned(),
        at: DateTime::UNIX_EPOCH,
        body_hash: [0; 32],
        update: Clone::clone(update),
        sequence,
    };
    (1..).zip(items).map(receipt).collect()
}

/// Of each object the digests together count as many updates as were committed. Returns how many
/// they count.
pub(crate) fn counts_are_those_committed(
    digests: &[Digest],
    committed: &[Transfer],
    faults: &mut Faults,
) -> usize {
    let mut missing: HashMap<(Object, i64), i64> = HashMap::new();
    for object in Object::ALL {
        for transfer in committed {
            *missing.entry((object, transfer.key(object))).or_default() += 1;
        }
    }
    let mut told = 0;
    for digest in digests {
        if let Content::Counts(counts) = &digest.whole.content {
            for (object, key, count) in counts {
                told += count;
                *missing.entry((*object, *key)).or_default() -= *count as i64;
            }
        }
    }
    for ((object, key), missing) in missing {
        if missing != 0 {
            faults.add(format!(
                "{missing} updates of {object:?} {key} are not counted"
            ));
        }
    }
    told
}

/// Of each object, each digest begins where the one before it ended, from 0 to the balance of its
/// row. Returns of how many events they tell.
pub(crate) fn effects_are_chains(
    digests: &[Digest],
    balances: &HashMap<(Object, i64), i64>,
    faults: &mut Faults,
) -> usize {
    let (mut last, mut told) = (HashMap::new(), 0);
    for digest in digests {
        if let Content::Effects(effects) = &digest.whole.content {
            for effect in effects {
                told += effect.count;
                let balance: &mut i64 = last.entry((effect.object, effect.key)).or_default();
                if effect.before != *balance {
                    faults.add(format!("left at {balance}, then came {effect:?}"));
                }
                *balance = effect.after;
            }
        }
    }
    for (key, is) in balances {
        let told = last.get(key).copied().unwrap_or(0);
        if told != *is {
            faults.add(format!("{key:?} ends at {told}, and its row at {is}"));
        }
    }
    told
}

/// The oracle must notice what it is for.
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::wire::{Effect, Part};

    /// A digest with this content.
    fn digest(content: Content) -> Digest {
        Digest::begin(&Part {
            digest: Uuid::nil(),
            part: 1,
            parts: 1,
            from: DateTime::UNIX_EPOCH,
            to: DateTime::UNIX_EPOCH,
            count: 0,
            content,
        })
    }

    #[test]
    fn the_oracle_notices_totals_that_are_not_those_committed() {
        let committed = [5, 4].map(|delta| Transfer::new(7, 1, 1, delta));
        let faults = |counts: [usize; 3]| {
            let keys = [
                (Object::Account, 7),
                (Object::Teller, 1),
                (Object::Branch, 1),
            ];
            let counts = keys.into_iter().zip(counts);
            let counts = counts.map(|((object, key), count)| (object, key, count));
            let digests = [digest(Content::Counts(counts.collect()))];
            let mut faults = Faults::default();
            let told = counts_are_those_committed(&digests, &committed, &mut faults);
            (told, faults)
        };
        let (told, right) = faults([2, 2, 2]);
        right.none("right");
        assert_eq!(told, 6);
        faults([2, 1, 2])
            .1
            .say("1 updates of Teller 1 are not counted");
        faults([2, 2, 3])
            .1
            .say("-1 updates of Branch 1 are not counted");
    }

    #[test]
    fn the_oracle_notices_effects_that_do_not_follow_each_other() {
        let balances = HashMap::from([((Object::Teller, 1), 9), ((Object::Teller, 2), 0)]);
        let faults = |effects: &[(i64, i64)]| {
            let effect = |(before, after): &(i64, i64)| {
                let effect = Effect {
                    object: Object::Teller,
                    key: 1,
                    before: *before,
                    after: *after,
                    count: 2,
                };
                digest(Content::Effects(vec![effect]))
            };
            let digests: Vec<Digest> = effects.iter().map(effect).collect();
            let mut faults = Faults::default();
            let told = effects_are_chains(&digests, &balances, &mut faults);
            (told, faults)
        };
        let (told, right) = faults(&[(0, 5), (5, 9)]);
        right.none("right");
        assert_eq!(told, 4);
        faults(&[(5, 9)]).1.say("left at 0, then came");
        faults(&[(0, 5)]).1.say("ends at 5, and its row at 9");
    }
}
