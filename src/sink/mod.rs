//! Where notifications go.

mod guard;
mod net;
mod signature;
mod url_check;

pub use guard::{AddressGuard, Refusal};
pub use net::{Net, NetError};
pub use signature::{KEY_BYTES_MAX, KEY_BYTES_MIN, SecretError, SigningSecret};
pub use url_check::{URL_BYTES_MAX, UrlRefusal, check_url};
