//! Gaps: times of which somebody may miss something. Each is kept in the repository, and told to
//! the subscribers of the object types in question as a `rowcall.capture.gap` event, which goes the
//! way of all changes: after what was captured before, and before what is captured later.

pub mod store;

use chrono::{DateTime, Utc};

/// Why something may be missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GapReason {
    /// Nothing was captured.
    Detached,
    /// It was captured and is not published.
    Skipped,
    /// The database was restored to an earlier state.
    Restored,
    /// Another server took over, which may lack what was committed last.
    Failover,
}

impl GapReason {
    /// As the repository and events have it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Detached => "detached",
            Self::Skipped => "skipped",
            Self::Restored => "restored",
            Self::Failover => "failover",
        }
    }
}

/// From when to when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// `None`: not known.
    pub from: Option<DateTime<Utc>>,
    /// The end.
    pub to: DateTime<Utc>,
}
