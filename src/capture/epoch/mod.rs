//! Whether a source is still the database that was read before, and not an earlier state of it.
//!
//! The cursor is a snapshot: it says what was read only in the history in which it was taken. After
//! a restore, a promotion or a sequence that was set back, the same transaction ids and numbers
//! stand for other changes, and reading on would lose some and double others. So before each batch
//! a [`Sighting`] of the source is compared with what its cursor remembers; a [`Deviation`] stops
//! the reading until somebody has looked at it and has run `rowcall source rebase`.
//!
//! It works the same for Rowcall's own database and for others: whoever copies another database's
//! changes takes the sighting there, with the connection to it, and keeps the rest in the
//! repository. No privilege is needed beyond those that every role has.

pub mod store;

use self::store::{Epoch, Sighting};
use super::store::Cursor;

/// What differs.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Deviation {
    /// Restored from a dump, or upgraded into a new cluster.
    #[error(
        "it is in another cluster than before (system identifier {now}, before {read}): it was \
         restored, copied or upgraded"
    )]
    System {
        /// When it was read.
        read: i64,
        /// At present.
        now: i64,
    },
    /// Another database of the cluster.
    #[error(
        "it is another database of the same cluster than before (oid {now}, before {read}): it was \
         restored or copied"
    )]
    Database {
        /// When it was read.
        read: i64,
        /// At present.
        now: i64,
    },
    /// A standby was promoted, or recovery ended at some point.
    #[error(
        "its timeline is {now}, before {read}: a standby was promoted, or it was recovered to a \
         point in time; what was committed last may be missing"
    )]
    Timeline {
        /// When it was read.
        read: i32,
        /// At present.
        now: i32,
    },
    /// This instance has seen a later state of it.
    #[error(
        "it is in an earlier state than this instance has seen (batch {now}, before {read}): a copy \
         of it was put back"
    )]
    RolledBack {
        /// The cursor's revision that was seen.
        read: i64,
        /// The present one.
        now: i64,
    },
    /// The database is younger than the cursor.
    #[error(
        "its transaction ids went backwards (read up to {read}, now at {now}): it was restored or \
         replaced"
    )]
    Transactions {
        /// The cursor's upper bound.
        read: u64,
        /// The next transaction's id.
        now: u64,
    },
    /// The sequence of changes gives numbers again.
    #[error(
        "the sequence rowcall.change_seq was set back (it had given {read}, now it is at {now}): \
         changes would be published out of order"
    )]
    Sequence {
        /// The highest number that was seen.
        read: i64,
        /// The last that the sequence gave.
        now: i64,
    },
    /// The sequence was set back and has caught up since.
    #[error(
        "the sequence rowcall.change_seq gave the number {seq} twice: it was set back, and changes \
         would be published out of order"
    )]
    Number {
        /// The number.
        seq: i64,
    },
}

/// What a deviation means to those who read the events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopKind {
    /// The database may be an earlier state of itself.
    Restored,
    /// Another server took over; it may lack what the old one committed last.
    Failover,
    /// Nothing is missing, but the numbers of changes repeat.
    Sequence,
}

impl StopKind {
    /// As the repository keeps it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Restored => "restored",
            Self::Failover => "failover",
            Self::Sequence => "sequence",
        }
    }

    /// The kind that the repository keeps as `text`; what is not known counts as the worst.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        match text {
            "failover" => Self::Failover,
            "sequence" => Self::Sequence,
            _ => Self::Restored,
        }
    }
}

impl Deviation {
    /// What it means.
    #[must_use]
    pub fn kind(&self) -> StopKind {
        match self {
            Self::Timeline { .. } => StopKind::Failover,
            Self::Sequence { .. } | Self::Number { .. } => StopKind::Sequence,
            _ => StopKind::Restored,
        }
    }
}

/// Compares what a source is now with what its cursor remembers.
///
/// `revision_seen` is the highest revision of the cursor that this process has read: it alone tells
/// a copy of the whole machine that was put back, for everything in such a database fits together.
///
/// # Errors
///
/// The first thing that differs, the most telling first.
pub fn judge(
    cursor: &Cursor,
    sighting: &Sighting,
    revision_seen: Option<i64>,
) -> Result<(), Deviation> {
    if let (Some(read), Some(now)) = (cursor.epoch(), sighting.epoch()) {
        judge_epoch(read, now)?;
    }
    if let Some(read) = revision_seen.filter(|seen| *seen > cursor.revision) {
        let now = cursor.revision;
        return Err(Deviation::RolledBack { read, now });
    }
    let (read, now) = (xmax(&cursor.snapshot), xmax(&sighting.snapshot));
    if now < read {
        return Err(Deviation::Transactions { read, now });
    }
    if sighting.seq_last < cursor.seq_seen {
        let (read, now) = (cursor.seq_seen, sighting.seq_last);
        return Err(Deviation::Sequence { read, now });
    }
    Ok(())
}

fn judge_epoch(read: Epoch, now: Epoch) -> Result<(), Deviation> {
    if read.system_identifier != now.system_identifier {
        let (read, now) = (read.system_identifier, now.system_identifier);
        return Err(Deviation::System { read, now });
    }
    if read.database_oid != now.database_oid {
        let (read, now) = (read.database_oid, now.database_oid);
        return Err(Deviation::Database { read, now });
    }
    if read.timeline != now.timeline {
        let (read, now) = (read.timeline, now.timeline);
        return Err(Deviation::Timeline { read, now });
    }
    Ok(())
}

/// Looks at the numbers of a batch, which are in rising order: no number is given twice, and none
/// is above `seq_last`, the sequence's last when the batch's snapshot had been taken.
///
/// # Errors
///
/// [`Deviation::Sequence`], [`Deviation::Number`].
pub fn judge_numbers(seqs: impl Iterator<Item = i64>, seq_last: i64) -> Result<(), Deviation> {
    let mut previous = None;
    for seq in seqs {
        if previous == Some(seq) {
            return Err(Deviation::Number { seq });
        }
        if seq > seq_last {
            let (read, now) = (seq, seq_last);
            return Err(Deviation::Sequence { read, now });
        }
        previous = Some(seq);
    }
    Ok(())
}

/// The upper bound in a snapshot's text, `xmin:xmax:xip,...`.
fn xmax(snapshot: &str) -> u64 {
    snapshot
        .split(':')
        .nth(1)
        .and_then(|text| text.parse().ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const EPOCH: Epoch = Epoch {
        system_identifier: 7,
        database_oid: 5,
        timeline: 1,
    };

    fn cursor() -> Cursor {
        Cursor {
            snapshot: "90:100:".to_owned(),
            revision: 10,
            seq_seen: 50,
            system_identifier: Some(EPOCH.system_identifier),
            database_oid: Some(EPOCH.database_oid),
            timeline: Some(EPOCH.timeline),
            ..Cursor::default()
        }
    }

    fn sighting(epoch: Epoch, xmax: u64, seq_last: i64) -> Sighting {
        Sighting {
            snapshot: format!("{xmax}:{xmax}:"),
            seq_last,
            system_identifier: epoch.system_identifier,
            database_oid: epoch.database_oid,
            timeline: Some(epoch.timeline),
        }
    }

    #[test]
    fn each_thing_that_differs_is_a_deviation_of_its_kind() {
        let judged = |epoch, xmax, seq| judge(&cursor(), &sighting(epoch, xmax, seq), Some(10));
        assert_eq!(judged(EPOCH, 100, 50), Ok(()));
        assert_eq!(judged(EPOCH, 101, 51), Ok(()));
        let kinds = [
            (
                Epoch {
                    system_identifier: 8,
                    ..EPOCH
                },
                100,
                50,
                StopKind::Restored,
            ),
            (
                Epoch {
                    database_oid: 6,
                    ..EPOCH
                },
                100,
                50,
                StopKind::Restored,
            ),
            (
                Epoch {
                    timeline: 2,
                    ..EPOCH
                },
                100,
                50,
                StopKind::Failover,
            ),
            (EPOCH, 99, 50, StopKind::Restored),
            (EPOCH, 100, 49, StopKind::Sequence),
        ];
        for (epoch, xmax, seq, kind) in kinds {
            let deviation = judged(epoch, xmax, seq).unwrap_err();
            assert_eq!(deviation.kind(), kind, "{deviation}");
            assert_eq!(StopKind::parse(kind.as_str()), kind);
        }
        let rolled_back = judge(&cursor(), &sighting(EPOCH, 100, 50), Some(11)).unwrap_err();
        assert_eq!(rolled_back.kind(), StopKind::Restored);
    }

    #[test]
    fn before_the_first_read_there_is_nothing_to_compare_with() {
        let mut cursor = cursor();
        cursor.system_identifier = None;
        let other = Epoch {
            timeline: 9,
            ..EPOCH
        };
        assert_eq!(judge(&cursor, &sighting(other, 100, 50), None), Ok(()));
        // A standby has no timeline of its own yet.
        let mut standby = sighting(other, 100, 50);
        standby.timeline = None;
        assert_eq!(judge(&self::cursor(), &standby, None), Ok(()));
    }

    #[test]
    fn a_number_that_is_there_twice_or_too_early_is_noticed() {
        assert_eq!(judge_numbers([3, 4, 9].into_iter(), 9), Ok(()));
        assert!(judge_numbers([3, 4, 4].into_iter(), 9).is_err());
        assert!(judge_numbers([3, 4, 9].into_iter(), 8).is_err());
    }

    #[test]
    fn xmax_is_read_from_a_snapshots_text() {
        assert_eq!(xmax("728828:728882:728877,728880"), 728_882);
        assert_eq!(xmax("10:10:"), 10);
    }
}
