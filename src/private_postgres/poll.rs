//! The one place of the private Postgres that waits by looking again.
//!
//! Postgres tells of its readiness by writing a file, and a process that is not our child tells of
//! its end by nothing at all; both can only be looked at.

use std::time::{Duration, Instant};

use super::error::Result;

/// Short beside a server start (about 50 ms), long beside the cost of a look (some microseconds).
const POLL_INTERVAL: Duration = Duration::from_millis(5);

/// Looks until `probe` finds something; `None` when `limit` has passed.
pub(super) fn poll_until<T>(
    limit: Duration,
    mut probe: impl FnMut() -> Result<Option<T>>,
) -> Result<Option<T>> {
    let start = Instant::now();
    loop {
        if let Some(found) = probe()? {
            return Ok(Some(found));
        }
        if start.elapsed() >= limit {
            return Ok(None);
        }
        pause();
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the pause between two looks of a bounded poll"
)]
fn pause() {
    std::thread::sleep(POLL_INTERVAL);
}
