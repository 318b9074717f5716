//! Which addresses a sink may reach.
//!
//! Subscribers choose the URLs that Rowcall calls from inside the operator's network, so every
//! address that is not globally routable unicast is refused unless the operator allowed its
//! network (server-side request forgery). The guard judges addresses, never names: the connector
//! asks it about each address it is about to dial, so a name that changes its answer between two
//! lookups gains nothing.
//!
//! The blocks come from the IANA special-purpose address registries (RFC 6890 and its successors)
//! as of 2026, where "globally reachable" is false, and from the fixed address of Azure's host
//! agent, which lies in public space. IPv6 is turned round: only 2000::/3 is global unicast
//! (RFC 4291), so everything outside it is refused, known or not.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::net::Net;

/// Decides whether an address may be dialled. Pure; holds nothing but the allowed networks.
#[derive(Clone, Debug, Default)]
pub struct AddressGuard {
    allow: Vec<Net>,
}

/// An address that may not be dialled, and why. Its text tells the operator what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The address as it would have been dialled (IPv4-mapped forms are shown as IPv4).
    pub address: IpAddr,
    kind: Kind,
    block: Net,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    ThisNetwork,
    Loopback,
    Private,
    Shared,
    LinkLocal,
    Protocol,
    Documentation,
    Benchmarking,
    Multicast,
    Reserved,
    HostAgent,
    Translated,
    Tunnel,
}

const BLOCKS_V4: [(Net, Kind); 16] = [
    (Net::v4(0, 0, 0, 0, 8), Kind::ThisNetwork),
    (Net::v4(10, 0, 0, 0, 8), Kind::Private),
    (Net::v4(100, 64, 0, 0, 10), Kind::Shared),
    (Net::v4(127, 0, 0, 0, 8), Kind::Loopback),
    (Net::v4(168, 63, 129, 16, 32), Kind::HostAgent),
    (Net::v4(169, 254, 0, 0, 16), Kind::LinkLocal),
    (Net::v4(172, 16, 0, 0, 12), Kind::Private),
    (Net::v4(192, 0, 0, 0, 24), Kind::Protocol),
    (Net::v4(192, 0, 2, 0, 24), Kind::Documentation),
    (Net::v4(192, 88, 99, 0, 24), Kind::Tunnel),
    (Net::v4(192, 168, 0, 0, 16), Kind::Private),
    (Net::v4(198, 18, 0, 0, 15), Kind::Benchmarking),
    (Net::v4(198, 51, 100, 0, 24), Kind::Documentation),
    (Net::v4(203, 0, 113, 0, 24), Kind::Documentation),
    (Net::v4(224, 0, 0, 0, 4), Kind::Multicast),
    (Net::v4(240, 0, 0, 0, 4), Kind::Reserved),
];

/// The first match counts: narrow blocks stand before the wide ones that hold them.
const BLOCKS_V6: [(Net, Kind); 13] = [
    (LOOPBACK_V6, Kind::Loopback),
    // `::` and the deprecated IPv4-compatible addresses (::a.b.c.d).
    (Net::v6(0, 0, 0, 96), Kind::ThisNetwork),
    (Net::v6(0x64, 0xff9b, 1, 48), Kind::Translated),
    (Net::v6(0x2001, 0, 0, 32), Kind::Tunnel),
    (Net::v6(0x2001, 0, 0, 23), Kind::Protocol),
    (Net::v6(0x2001, 0xdb8, 0, 32), Kind::Documentation),
    (Net::v6(0x2002, 0, 0, 16), Kind::Tunnel),
    (Net::v6(0x3fff, 0, 0, 20), Kind::Documentation),
    (Net::v6(0xfc00, 0, 0, 7), Kind::Private),
    (Net::v6(0xfe80, 0, 0, 10), Kind::LinkLocal),
    // Site-local, deprecated by RFC 3879, still routed inside old networks.
    (Net::v6(0xfec0, 0, 0, 10), Kind::Private),
    (Net::v6(0xff00, 0, 0, 8), Kind::Multicast),
    (Net::v6(0x100, 0, 0, 64), Kind::Reserved),
];

const LOOPBACK_V6: Net = Net::loopback_v6();
const GLOBAL_UNICAST_V6: Net = Net::v6(0x2000, 0, 0, 3);
const NAT64_V6: Net = Net::v6(0x64, 0xff9b, 0, 96);
const RESERVED_V6: Net = Net::v6(0, 0, 0, 0);

impl AddressGuard {
    /// A guard that admits globally routable unicast addresses and, besides, all of `allow`.
    #[must_use]
    pub fn new(allow: Vec<Net>) -> Self {
        Self { allow }
    }

    /// Whether `address` may be dialled.
    ///
    /// # Errors
    ///
    /// The refusal, if the address is not globally routable unicast and no allowed network holds
    /// it. An allowed network is compared with the address itself (IPv4-mapped forms as IPv4),
    /// never with an IPv4 address that a translation or tunnel prefix carries.
    pub fn check(&self, address: IpAddr) -> Result<(), Refusal> {
        let address = address.to_canonical();
        if self.allow.iter().any(|net| net.contains(address)) {
            return Ok(());
        }
        match refused_block(address) {
            Some((block, kind)) => Err(Refusal {
                address,
                kind,
                block,
            }),
            None => Ok(()),
        }
    }
}

fn refused_block(address: IpAddr) -> Option<(Net, Kind)> {
    match address {
        IpAddr::V4(v4) => refused_block_v4(v4),
        IpAddr::V6(v6) => refused_block_v6(v6),
    }
}

fn refused_block_v4(address: Ipv4Addr) -> Option<(Net, Kind)> {
    BLOCKS_V4
        .into_iter()
        .find(|(block, _)| block.contains(address.into()))
}

fn refused_block_v6(address: Ipv6Addr) -> Option<(Net, Kind)> {
    if NAT64_V6.contains(address.into()) {
        // An IPv6-only host reaches public IPv4 receivers through this prefix (RFC 6052): the
        // gateway will dial the IPv4 address in the last 32 bits, so that one is judged.
        let [.., a, b, c, d] = address.octets();
        return refused_block_v4(Ipv4Addr::new(a, b, c, d)).map(|_| (NAT64_V6, Kind::Translated));
    }
    if let Some(found) = BLOCKS_V6
        .into_iter()
        .find(|(block, _)| block.contains(address.into()))
    {
        return Some(found);
    }
    if GLOBAL_UNICAST_V6.contains(address.into()) {
        None
    } else {
        Some((RESERVED_V6, Kind::Reserved))
    }
}

impl Refusal {
    /// The network an operator would allow: the whole block where it is one administrative unit,
    /// the single address where the block holds strangers, nothing where no receiver can be.
    fn net_to_allow(&self) -> Option<Net> {
        match self.kind {
            Kind::Loopback | Kind::Private | Kind::Shared => Some(self.block),
            Kind::ThisNetwork | Kind::Multicast => None,
            Kind::LinkLocal
            | Kind::Protocol
            | Kind::Documentation
            | Kind::Benchmarking
            | Kind::Reserved
            | Kind::HostAgent
            | Kind::Translated
            | Kind::Tunnel => Some(Net::of_one(self.address)),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.kind {
            Kind::ThisNetwork => "stands for this host and network",
            Kind::Loopback => "is loopback",
            Kind::Private => "is private",
            Kind::Shared => "is shared carrier space",
            Kind::LinkLocal => "is link-local, where clouds serve instance credentials",
            Kind::Protocol => "is set aside for protocols",
            Kind::Documentation => "is set aside for documentation",
            Kind::Benchmarking => "is set aside for benchmarks",
            Kind::Multicast => "is multicast",
            Kind::Reserved => "is reserved",
            Kind::HostAgent => "belongs to a cloud's host agent",
            Kind::Translated => "is translated to an IPv4 address that is not public",
            Kind::Tunnel => "is a tunnel to an IPv4 address",
        };
        write!(f, "the address {} {what}; ", self.address)?;
        match self.net_to_allow() {
            Some(net) => write!(f, "allow it with --allow-nets {net}"),
            None => write!(f, "register a URL with the receiver's own address"),
        }
    }
}

impl std::error::Error for Refusal {}

#[cfg(test)]
mod tests {
    use super::*;

    const REFUSED: &str = "
        0.0.0.0 0.0.0.1 0.255.255.255 10.0.0.0 10.0.0.5 10.255.255.255 100.64.0.0
        100.100.100.200 100.127.255.255 127.0.0.0 127.0.0.1 127.1.2.3 127.255.255.255
        168.63.129.16 169.254.0.0 169.254.169.254 169.254.170.2 169.254.255.255 172.16.0.0
        172.17.0.1 172.31.255.255 192.0.0.0 192.0.0.192 192.0.0.255 192.0.2.0 192.0.2.255
        192.88.99.1 192.168.0.0 192.168.1.1 192.168.255.255 198.18.0.0 198.19.255.255
        198.51.100.0 198.51.100.255 203.0.113.0 203.0.113.255 224.0.0.0 224.0.0.251
        239.255.255.255 240.0.0.0 250.1.2.3 255.255.255.254 255.255.255.255 :: ::1 ::2
        ::7f00:1 ::127.0.0.1 ::10.0.0.1 ::8.8.8.8 ::ffff:0.0.0.0 ::ffff:127.0.0.1
        ::ffff:7f00:1 ::ffff:10.0.0.1 ::ffff:169.254.169.254 ::ffff:192.168.0.1
        ::ffff:0:127.0.0.1 64:ff9b::127.0.0.1 64:ff9b::10.0.0.1 64:ff9b::a9fe:a9fe
        64:ff9b::1:0:0:1 64:ff9b:1::1 64:ff9b:1::8.8.8.8
        64:ff9b:1:ffff:ffff:ffff:ffff:ffff 100::1 1fff:ffff::1 2001::1
        2001:0:4136:e378:8000:63bf:3fff:fdd2 2001:1::1 2001:2::1 2001:10::1
        2001:1f:ffff::1 2001:20::1 2001:1ff::1 2001:db8::1 2001:db8:ffff::1 2002:7f00:1::1
        2002:808:808::1 3fff::1 3fff:fff:ffff::1 4000::1 5f00::1 8000::1 fc00::1 fd00::1
        fd00:ec2::254 fdff:ffff::1 fe00::1 fe80::1 fe80::a9fe:a9fe febf:ffff::1 fec0::1
        feff:ffff::1 ff00::1 ff02::1 ff0e::1 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff
    ";

    const ADMITTED: &str = "
        1.0.0.0 1.1.1.1 8.8.8.8 9.255.255.255 11.0.0.0 100.63.255.255 100.128.0.0
        126.255.255.255 128.0.0.0 168.63.129.15 168.63.129.17 169.253.255.255 169.255.0.0
        172.15.255.255 172.32.0.0 191.255.255.255 192.0.1.0 192.0.3.0 192.88.98.255
        192.88.100.0 192.167.255.255 192.169.0.0 198.17.255.255 198.20.0.0 198.51.99.255
        198.51.101.0 203.0.112.255 203.0.114.0 223.255.255.255 ::ffff:8.8.8.8
        64:ff9b::8.8.8.8 2000::1 2001:200::1 2001:4860:4860::8888 2001:db7:ffff::1
        2001:db9::1 2003::1 2606:4700:4700::1111 2a00:1450:4001::1 3ffe:ffff::1
        3fff:1000::1
    ";

    #[test]
    fn only_globally_routable_unicast_is_admitted_by_default() {
        let guard = AddressGuard::default();
        for text in REFUSED.split_whitespace() {
            assert!(
                guard.check(text.parse().unwrap()).is_err(),
                "{text} was admitted"
            );
        }
        for text in ADMITTED.split_whitespace() {
            let verdict = guard.check(text.parse().unwrap());
            assert!(verdict.is_ok(), "{text} was refused: {verdict:?}");
        }
    }

    #[test]
    fn an_allowed_network_admits_its_addresses_and_no_other() {
        let nets = ["127.0.0.0/8", "10.1.0.0/16", "fd00::/8"];
        let guard = AddressGuard::new(nets.iter().map(|net| net.parse().unwrap()).collect());
        for text in [
            "127.0.0.1",
            "::ffff:127.0.0.1",
            "10.1.255.255",
            "fd12::1",
            "8.8.8.8",
        ] {
            assert!(
                guard.check(text.parse().unwrap()).is_ok(),
                "{text} was refused"
            );
        }
        for text in [
            "::1",
            "0.0.0.0",
            "10.2.0.0",
            "fc00::1",
            "64:ff9b::10.1.0.1",
            "::127.0.0.1",
        ] {
            assert!(
                guard.check(text.parse().unwrap()).is_err(),
                "{text} was admitted"
            );
        }
    }

    #[test]
    fn a_refusal_says_what_the_address_is_and_what_to_do() {
        for (address, says) in [
            (
                "10.0.0.5",
                "the address 10.0.0.5 is private; allow it with --allow-nets 10.0.0.0/8",
            ),
            (
                "::ffff:127.0.0.1",
                "127.0.0.1 is loopback; allow it with --allow-nets 127.0.0.0/8",
            ),
            ("::1", "::1 is loopback; allow it with --allow-nets ::1/128"),
            (
                "169.254.169.254",
                "allow it with --allow-nets 169.254.169.254/32",
            ),
            ("fd00::1", "allow it with --allow-nets fc00::/7"),
            (
                "4000::1",
                "4000::1 is reserved; allow it with --allow-nets 4000::1/128",
            ),
            ("0.0.0.0", "register a URL with the receiver's own address"),
        ] {
            let refusal = AddressGuard::default()
                .check(address.parse().unwrap())
                .unwrap_err();
            assert!(refusal.to_string().contains(says), "{refusal}");
        }
    }

    #[test]
    fn what_a_refusal_proposes_would_admit_the_address() {
        for text in REFUSED.split_whitespace() {
            let address: IpAddr = text.parse().unwrap();
            let refusal = AddressGuard::default().check(address).unwrap_err();
            let Some(net) = refusal.net_to_allow() else {
                continue;
            };
            assert!(
                AddressGuard::new(vec![net]).check(address).is_ok(),
                "{text}: {net}"
            );
        }
    }
}
