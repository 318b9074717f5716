//! What marks a delivery on its way through the senders that is sent again.

use tokio::sync::mpsc;
use uuid::Uuid;

use crate::{deliver::send::Done, stage::Nudge};

/// The header that tells a receiver that a request is a replay; its value is 1.
pub const REPLAY_HEADER: &str = "rowcall-replay";

/// An item of a replay, and where its result is told: not to the delivering stage, which would
/// write it into the delivery.
#[derive(Clone, Debug)]
pub struct Again {
    /// The replay.
    pub(super) replay: Uuid,
    /// The item, whose lease the claim holds.
    pub(super) item: Uuid,
    pub(super) results: mpsc::UnboundedSender<Done>,
    pub(super) nudge: Nudge,
}

impl Again {
    /// Tells the result. Their number is bounded by the deliveries in memory.
    pub(crate) fn tell(&self, done: Done) {
        // Nobody listens any more only when the instance is gone; the leases run out then.
        let _ = self.results.send(done);
        self.nudge.ring();
    }

    /// The header of the request.
    pub(crate) fn header(&self) -> (&'static str, String) {
        (REPLAY_HEADER, "1".to_owned())
    }
}
