//! A network in CIDR notation: what operators write in `--allow-nets`.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// A network: an address and the number of its leading bits that count.
///
/// Written `10.0.0.0/8` or `fd00::/8`; a bare address is a network of one. An IPv4-mapped IPv6
/// network (`::ffff:10.0.0.0/104`) is the IPv4 network it stands for, because addresses are
/// normalised the same way before they are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Net {
    address: IpAddr,
    prefix_bits: u8,
}

/// Why a text is no network.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NetError {
    /// The part before the slash is no IP address.
    #[error("`{0}` is no network: write an address and a prefix length, as in 10.0.0.0/8")]
    Address(String),
    /// The part after the slash is no number from 0 to 32 (IPv4) or 128 (IPv6).
    #[error("`{text}` is no network: its prefix length must be a number from 0 to {bits_max}")]
    Prefix {
        /// The text as it was given.
        text: String,
        /// 32 for IPv4, 128 for IPv6.
        bits_max: u8,
    },
    /// Bits after the prefix are set. Refused, because nobody can tell whether the address or the
    /// prefix is the slip, and a wrong guess opens a network that was not meant.
    #[error("`{text}` has bits set after its prefix: did you mean {network} or {address}?")]
    HostBits {
        /// The text as it was given.
        text: String,
        /// The network that holds the address.
        network: Net,
        /// The address alone.
        address: IpAddr,
    },
}

impl Net {
    /// An IPv4 network known to be well-formed; for tables in code.
    pub(super) const fn v4(a: u8, b: u8, c: u8, d: u8, prefix_bits: u8) -> Self {
        Self {
            address: IpAddr::V4(Ipv4Addr::new(a, b, c, d)),
            prefix_bits,
        }
    }

    /// An IPv6 network known to be well-formed, from its first three groups; for tables in code.
    pub(super) const fn v6(a: u16, b: u16, c: u16, prefix_bits: u8) -> Self {
        Self {
            address: IpAddr::V6(Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0)),
            prefix_bits,
        }
    }

    /// `::1`, which the three groups of [`Net::v6`] cannot spell.
    pub(super) const fn loopback_v6() -> Self {
        Self {
            address: IpAddr::V6(Ipv6Addr::LOCALHOST),
            prefix_bits: 128,
        }
    }

    /// The network of this one address.
    #[must_use]
    pub fn of_one(address: IpAddr) -> Self {
        let address = address.to_canonical();
        Self {
            address,
            prefix_bits: bits_max(address),
        }
    }

    /// Whether `address` lies in this network; IPv4-mapped IPv6 addresses count as IPv4.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(net), IpAddr::V4(address)) => {
                let mask = mask_v4(self.prefix_bits);
                u32::from(net) & mask == u32::from(address) & mask
            }
            (IpAddr::V6(net), IpAddr::V6(address)) => {
                let mask = mask_v6(self.prefix_bits);
                u128::from(net) & mask == u128::from(address) & mask
            }
            _ => false,
        }
    }
}

impl FromStr for Net {
    type Err = NetError;

    fn from_str(text: &str) -> Result<Self, NetError> {
        let text = text.trim();
        let (address_text, prefix_text) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let Ok(address) = IpAddr::from_str(address_text) else {
            return Err(NetError::Address(text.to_owned()));
        };
        let Some(prefix_text) = prefix_text else {
            return Ok(Self::of_one(address));
        };

        let bits_max = bits_max(address);
        // `u8::from_str` would take "+8".
        let digits_only = prefix_text.bytes().all(|byte| byte.is_ascii_digit());
        let prefix_bits = match prefix_text.parse::<u8>() {
            Ok(bits) if digits_only && bits <= bits_max => bits,
            _ => {
                return Err(NetError::Prefix {
                    text: text.to_owned(),
                    bits_max,
                });
            }
        };

        let masked = match address {
            IpAddr::V4(v4) => IpAddr::V4((u32::from(v4) & mask_v4(prefix_bits)).into()),
            IpAddr::V6(v6) => IpAddr::V6((u128::from(v6) & mask_v6(prefix_bits)).into()),
        };
        if masked != address {
            let network = Self {
                address: masked,
                prefix_bits,
            }
            .canonical();
            return Err(NetError::HostBits {
                text: text.to_owned(),
                network,
                address,
            });
        }
        Ok(Self {
            address,
            prefix_bits,
        }
        .canonical())
    }
}

impl Net {
    fn canonical(self) -> Self {
        match self.address {
            IpAddr::V6(v6) if self.prefix_bits >= 96 => match v6.to_ipv4_mapped() {
                Some(v4) => Self {
                    address: IpAddr::V4(v4),
                    prefix_bits: self.prefix_bits - 96,
                },
                None => self,
            },
            _ => self,
        }
    }
}

impl fmt::Display for Net {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix_bits)
    }
}

fn bits_max(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

fn mask_v4(prefix_bits: u8) -> u32 {
    // A shift by the full width would overflow; a prefix of 0 masks everything away.
    u32::MAX
        .checked_shl(32 - u32::from(prefix_bits))
        .unwrap_or(0)
}

fn mask_v6(prefix_bits: u8) -> u128 {
    u128::MAX
        .checked_shl(128 - u32::from(prefix_bits))
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_are_read_and_written_back() {
        for (text, shown) in [
            ("10.0.0.0/8", "10.0.0.0/8"),
            (" 127.0.0.1 ", "127.0.0.1/32"),
            ("0.0.0.0/0", "0.0.0.0/0"),
            ("fd00::/8", "fd00::/8"),
            ("::1", "::1/128"),
            ("::/0", "::/0"),
            ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
            ("::ffff:10.0.0.1", "10.0.0.1/32"),
        ] {
            assert_eq!(text.parse::<Net>().unwrap().to_string(), shown, "{text}");
        }
    }

    #[test]
    fn what_is_no_network_is_refused_with_the_reason() {
        for (text, says) in [
            ("", "is no network"),
            ("example.com/8", "is no network"),
            ("10.0.0/8", "is no network"),
            ("10.0.0.0/33", "from 0 to 32"),
            ("10.0.0.0/", "from 0 to 32"),
            ("10.0.0.0/+8", "from 0 to 32"),
            ("10.0.0.0/8/8", "from 0 to 32"),
            ("::/129", "from 0 to 128"),
            ("10.0.0.5/8", "did you mean 10.0.0.0/8 or 10.0.0.5?"),
            ("fd00::1/8", "did you mean fd00::/8 or fd00::1?"),
        ] {
            let error = text.parse::<Net>().expect_err(text).to_string();
            assert!(error.contains(says), "`{text}` gave: {error}");
        }
    }

    #[test]
    fn containment_goes_by_the_leading_bits() {
        for (net, address, inside) in [
            ("10.0.0.0/8", "10.255.255.255", true),
            ("10.0.0.0/8", "11.0.0.0", false),
            ("10.0.0.0/8", "::ffff:10.1.2.3", true),
            ("172.16.0.0/12", "172.31.255.255", true),
            ("172.16.0.0/12", "172.32.0.0", false),
            ("0.0.0.0/0", "203.0.113.9", true),
            ("0.0.0.0/0", "::1", false),
            ("::/0", "2001:db8::1", true),
            ("::/0", "10.0.0.1", false),
            ("fd00:1::/32", "fd00:1:ffff::1", true),
            ("fd00:1::/32", "fd00:2::1", false),
        ] {
            let net: Net = net.parse().unwrap();
            assert_eq!(
                net.contains(address.parse().unwrap()),
                inside,
                "{net} {address}"
            );
        }
    }
}
