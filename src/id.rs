//! Ids that begin with a moment: UUIDv7 of the clock that is passed in, which tests can move.
//!
//! What is made later has a larger id, to the millisecond. So an index on ids also finds what is of
//! a time: [`id_first_at`] is where that time begins.

use chrono::{DateTime, Utc};
use uuid::{Builder, ClockSequence, NoContext, Timestamp, Uuid};

/// An id of this moment. Those of one millisecond are in no order.
#[must_use]
pub fn id_at(moment: DateTime<Utc>) -> Uuid {
    id_in(NoContext, moment)
}

/// An id of this moment; how those of one millisecond follow each other is the context's to say.
pub fn id_in(context: impl ClockSequence<Output = impl Into<u128>>, moment: DateTime<Utc>) -> Uuid {
    let seconds = u64::try_from(moment.timestamp()).unwrap_or_default();
    let nanos = moment.timestamp_subsec_nanos();
    Uuid::new_v7(Timestamp::from_unix(context, seconds, nanos))
}

/// The smallest id of this moment's millisecond; of a moment before 1970, that of 1970.
#[must_use]
pub fn id_first_at(moment: DateTime<Utc>) -> Uuid {
    of_millis(u64::try_from(moment.timestamp_millis()).unwrap_or_default())
}

/// The smallest id of the millisecond that a UUIDv7 is of.
#[must_use]
pub fn id_first_beside(id: Uuid) -> Uuid {
    let (begin, _) = id.as_u64_pair();
    of_millis(begin >> 16)
}

fn of_millis(millis: u64) -> Uuid {
    Builder::from_unix_timestamp_millis(millis, &[0; 10]).into_uuid()
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;

    #[test]
    fn the_moment_of_an_id_is_in_it() {
        let time = DateTime::from_timestamp_millis(1_767_225_600_123).unwrap();
        assert_eq!(id_first_beside(id_at(time)), id_first_at(time));
        assert!(id_first_at(time) <= id_at(time));
        assert!(id_at(time) < id_first_at(time + TimeDelta::milliseconds(1)));
    }
}
