//! Whether a receiver has to consent before it is sent anything, and what of a change asks anew.

use serde::{Deserialize, Serialize};

use super::model::SinkSpec;
use crate::sink::Scheme;

/// How a receiver is verified.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Verify {
    /// Not at all.
    #[default]
    None,
    /// By the handshake of CloudEvents' Web Hooks, section 4.
    Handshake,
}

/// How an operator wants receivers verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifySettings {
    /// What the webhooks of the API's subscriptions must pass.
    pub policy: Verify,
    /// Who asks: a DNS name that stands for all instances.
    pub origin: String,
    /// Requests a minute that are asked for, if any.
    pub rate_per_minute: Option<std::num::NonZeroU32>,
}

/// The origin that receivers are told if nothing is known of where Rowcall is.
pub const ORIGIN_DEFAULT: &str = "rowcall";

impl Default for VerifySettings {
    fn default() -> Self {
        Self {
            policy: Verify::None,
            origin: ORIGIN_DEFAULT.to_owned(),
            rate_per_minute: None,
        }
    }
}

impl SinkSpec {
    /// How it is signed; `None` for a sink that signs nothing.
    #[must_use]
    pub fn scheme(&self) -> Option<Scheme> {
        match self {
            Self::Webhook { signature, .. } => Some(*signature),
            Self::Email(_) => None,
        }
    }

    /// Whether the receiver has to consent before it is sent anything.
    #[must_use]
    pub fn is_verified(&self) -> bool {
        let handshake = Some(Verify::Handshake);
        matches!(self, Self::Webhook { verify, .. } if *verify == handshake)
    }

    /// Whether consent to `self` says nothing of `next`: another place, which nobody asked.
    #[must_use]
    pub fn is_elsewhere(&self, next: &Self) -> bool {
        match (self, next) {
            (Self::Webhook { url, .. }, Self::Webhook { url: next, .. }) => url != next,
            _ => true,
        }
    }

    /// Whether somebody else answers at `next`: another scheme, host or port. What only the
    /// receiver of `self` may know must not be sent there.
    #[must_use]
    pub fn is_anothers(&self, next: &Self) -> bool {
        match (self, next) {
            (Self::Webhook { url, .. }, Self::Webhook { url: next, .. }) => {
                url.origin() != next.origin()
            }
            _ => true,
        }
    }

    /// Writes the policy into a specification of the API that says nothing. `false`: it says
    /// `none`, which the policy forbids.
    #[must_use]
    pub fn verify_by(&mut self, policy: Verify) -> bool {
        match (self, policy) {
            (Self::Webhook { verify, .. }, Verify::Handshake) => {
                *verify.get_or_insert(policy) == policy
            }
            _ => true,
        }
    }
}
