//! How receivers are verified: as it is set, and what it comes to.

use std::num::NonZeroU32;

use clap::Args;

use super::{ConfigError, PublicUrl, invalid};
use crate::{
    sink::check_origin,
    subscription::verify::{Verify, VerifySettings},
};

/// Flags and environment.
#[derive(Args, Clone, Debug, Default)]
pub struct VerifyFlags {
    /// Whether receivers of subscriptions of the API must consent first [default: none]
    #[arg(long, env = "ROWCALL_VERIFY", value_enum, global = true)]
    pub verify: Option<Verify>,
    /// Who asks for consent: a DNS name [default: the host of --public-url, or rowcall]
    #[arg(
        long,
        env = "ROWCALL_VERIFY_ORIGIN",
        value_name = "NAME",
        global = true
    )]
    pub verify_origin: Option<String>,
    /// Requests a minute that receivers are asked to allow [default: they are not asked]
    #[arg(
        long,
        env = "ROWCALL_VERIFY_RATE",
        value_name = "NUMBER",
        global = true
    )]
    pub verify_rate: Option<NonZeroU32>,
}

/// The same in `rowcall.toml`.
#[derive(Debug, Default)]
pub(super) struct VerifyFile {
    pub(super) verify: Option<Verify>,
    pub(super) verify_origin: Option<String>,
    pub(super) verify_rate: Option<NonZeroU32>,
}

impl VerifyFlags {
    /// Puts flags before the file before what `public_url` says.
    pub(super) fn settings(
        self,
        file: VerifyFile,
        public_url: Option<&PublicUrl>,
    ) -> Result<VerifySettings, ConfigError> {
        let default = VerifySettings::default();
        let origin = self.verify_origin.or(file.verify_origin);
        if let Some(origin) = &origin {
            check_origin(origin)
                .map_err(|error| invalid(format!("ROWCALL_VERIFY_ORIGIN: {error}")))?;
        }
        let host = public_url.and_then(PublicUrl::host);
        // The host of a URL may be an address in brackets, which names no system.
        let host = host.filter(|host| check_origin(host).is_ok());
        Ok(VerifySettings {
            policy: self.verify.or(file.verify).unwrap_or(default.policy),
            origin: origin.or(host).unwrap_or(default.origin),
            rate_per_minute: self.verify_rate.or(file.verify_rate),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_origin_is_what_is_said_or_the_host_of_the_public_url() {
        let url: PublicUrl = "https://rowcall.example.com/x".parse().unwrap();
        let flags = VerifyFlags::default;
        let file = VerifyFile::default;
        let settings = flags().settings(file(), Some(&url)).unwrap();
        assert_eq!(settings.origin, "rowcall.example.com");
        assert_eq!(settings.policy, Verify::None);
        assert_eq!(flags().settings(file(), None).unwrap().origin, "rowcall");
        let said = VerifyFlags {
            verify_origin: Some("https://a.example".to_owned()),
            ..flags()
        };
        let error = said.settings(file(), None).unwrap_err().to_string();
        assert!(
            error.contains("ROWCALL_VERIFY_ORIGIN") && error.contains("DNS name"),
            "{error}"
        );
    }
}
