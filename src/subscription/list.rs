//! The registration list, as publishing and delivering use it.

pub mod store;

use uuid::Uuid;

use super::{model::Subscription, sealed::Kept};
use crate::sink::Signer;

/// A subscription of the registration list with what is needed to send to it.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The subscription.
    pub subscription: Subscription,
    /// Its signing secret, or why it can't be had: nothing can be sent then, and the text says what
    /// to do.
    pub secret: Result<Signer, String>,
    /// What else is kept encrypted of it.
    pub kept: Kept,
    /// Requests a minute that its receiver allowed when it consented, if it named a bound.
    pub allowed_per_minute: Option<i64>,
}

/// The registration list, as publishing and delivering use it.
#[derive(Clone, Debug, Default)]
pub struct RegistrationList {
    /// All subscriptions that are not deleted, by id, so oldest first.
    pub subscriptions: Vec<Loaded>,
    /// Name and reason of those that this program can't read; they match nothing.
    pub unreadable: Vec<(String, String)>,
    /// The last id of all these, readable or not; `None`: there are none.
    pub last: Option<Uuid>,
}

/// Which subscriptions are read; of all these only what is not deleted.
#[derive(Clone, Copy, Debug)]
pub enum Wanted<'a> {
    /// Each.
    All,
    /// So many at most, from the first id behind this one on.
    Page(Option<Uuid>, i64),
    /// These.
    Only(&'a [Uuid]),
}
