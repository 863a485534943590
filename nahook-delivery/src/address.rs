//! Which IP addresses may be dialled.
//!
//! A tenant writes the URL, so without this rule an endpoint is a probe into the operator's own
//! network (server-side request forgery, SSRF). The rule is applied to the address about to be dialled,
//! after resolution, and never to the host's spelling: a name may resolve to anything, and to
//! something else the next time (DNS rebinding).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// IPv4 ranges that are not the public internet: the IANA special-purpose registry (RFC 6890 and its
/// successors), multicast, and one cloud's metadata service that sits at a public address.
const REFUSED_V4: [Ipv4Net; 17] = [
    v4(0, 0, 0, 0, 8),          // "this network", unspecified
    v4(10, 0, 0, 0, 8),         // private
    v4(100, 64, 0, 0, 10),      // carrier-grade NAT, and Alibaba's metadata
    v4(127, 0, 0, 0, 8),        // loopback
    v4(168, 63, 129, 16, 32),   // Azure's platform service
    v4(169, 254, 0, 0, 16),     // link-local, and most clouds' metadata
    v4(172, 16, 0, 0, 12),      // private
    v4(192, 0, 0, 0, 24),       // protocol assignments, and Oracle's metadata
    v4(192, 0, 2, 0, 24),       // documentation
    v4(192, 88, 99, 0, 24),     // 6to4 relays, deprecated
    v4(192, 168, 0, 0, 16),     // private
    v4(198, 18, 0, 0, 15),      // benchmarking
    v4(198, 51, 100, 0, 24),    // documentation
    v4(203, 0, 113, 0, 24),     // documentation
    v4(224, 0, 0, 0, 4),        // multicast
    v4(240, 0, 0, 0, 4),        // reserved
    v4(255, 255, 255, 255, 32), // broadcast
];

/// The only IPv6 space handed out as global unicast. Everything outside it is refused by being
/// outside: unspecified, loopback, IPv4-compatible, unique-local (AWS's `fd00:ec2::254` among them),
/// link-local, site-local, multicast, discard-only, local NAT64, and whatever is assigned next.
const GLOBAL_V6: Ipv6Net = v6([0x2000, 0, 0, 0, 0, 0, 0, 0], 3);

/// IPv6 ranges inside the global space that are not the public internet.
const REFUSED_V6: [Ipv6Net; 5] = [
    v6([0x2001, 0x2, 0, 0, 0, 0, 0, 0], 48),   // benchmarking
    v6([0x2001, 0x10, 0, 0, 0, 0, 0, 0], 28),  // ORCHID, deprecated
    v6([0x2001, 0x20, 0, 0, 0, 0, 0, 0], 28),  // ORCHIDv2: identifiers, not locators
    v6([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0], 32), // documentation
    v6([0x3fff, 0, 0, 0, 0, 0, 0, 0], 20),     // documentation
];

const NAT64: Ipv6Net = v6([0x64, 0xff9b, 0, 0, 0, 0, 0, 0], 96);
const SIX_TO_FOUR: Ipv6Net = v6([0x2002, 0, 0, 0, 0, 0, 0, 0], 16);
const TEREDO: Ipv6Net = v6([0x2001, 0, 0, 0, 0, 0, 0, 0], 32);

const fn v4(a: u8, b: u8, c: u8, d: u8, prefix_len: u8) -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), prefix_len)
}

const fn v6(s: [u16; 8], prefix_len: u8) -> Ipv6Net {
    let address = Ipv6Addr::new(s[0], s[1], s[2], s[3], s[4], s[5], s[6], s[7]);
    Ipv6Net::new_assert(address, prefix_len)
}

/// Decides which addresses an attempt may connect to (contract, section 3).
///
/// By default only the public internet is permitted. The operator opens ranges with
/// [`allow_range`](Self::allow_range), and single sockets with [`allow_socket`](Self::allow_socket).
/// An opened range is open entirely: who opens `0.0.0.0/0` opens the metadata addresses too.
///
/// An IPv4-mapped IPv6 address is the IPv4 address it maps, in every respect. The other forms that
/// embed an IPv4 address (NAT64, 6to4, Teredo) are permitted only if what they embed is public;
/// opening an IPv4 range does not open them, since a translator reaches another network's range.
#[derive(Clone, Debug, Default)]
pub struct AddressPolicy {
    ranges: Vec<IpNet>,
    /// All if empty.
    ports: Vec<u16>,
    sockets: Vec<SocketAddr>,
}

impl AddressPolicy {
    /// The public internet and nothing else.
    pub fn new() -> Self {
        Self::default()
    }

    /// Also permits every address of `range`, at any port. An IPv4 range and its IPv4-mapped IPv6
    /// spelling (`::ffff:10.0.0.0/104`) are the same range.
    #[must_use]
    pub fn allow_range(mut self, range: IpNet) -> Self {
        self.ranges.push(canonical(range));
        self
    }

    /// Permits no port but those that are allowed so, and sockets that are allowed by themselves.
    #[must_use]
    pub fn allow_port(mut self, port: u16) -> Self {
        self.ports.push(port);
        self
    }

    /// Also permits exactly this address and port, as for a receiver in the same process.
    #[must_use]
    pub fn allow_socket(mut self, socket: SocketAddr) -> Self {
        self.sockets.push(socket);
        self
    }

    /// Returns true if `socket` may be dialled.
    pub fn permits(&self, socket: SocketAddr) -> bool {
        let ip = socket.ip().to_canonical();
        let is_port_open = self.ports.is_empty() || self.ports.contains(&socket.port());
        let is_open = is_public(ip) || self.ranges.iter().any(|range| range.contains(&ip));
        (is_open && is_port_open)
            || self
                .sockets
                .iter()
                .any(|allowed| allowed.ip().to_canonical() == ip && allowed.port() == socket.port())
    }
}

/// `ip` is canonical: never IPv4-mapped.
fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => is_public_v4(ip),
        IpAddr::V6(ip) => is_public_v6(ip),
    }
}

fn is_public_v4(ip: Ipv4Addr) -> bool {
    !REFUSED_V4.iter().any(|range| range.contains(&ip))
}

fn is_public_v6(ip: Ipv6Addr) -> bool {
    let s = ip.segments();
    if NAT64.contains(&ip) {
        return is_public_v4(embedded(s[6], s[7]));
    }
    if SIX_TO_FOUR.contains(&ip) {
        return is_public_v4(embedded(s[1], s[2]));
    }
    if TEREDO.contains(&ip) {
        // The relay server's address in clear, the client's with every bit flipped (RFC 4380).
        return is_public_v4(embedded(s[2], s[3])) && is_public_v4(embedded(!s[6], !s[7]));
    }
    GLOBAL_V6.contains(&ip) && !REFUSED_V6.iter().any(|range| range.contains(&ip))
}

fn embedded(high: u16, low: u16) -> Ipv4Addr {
    Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low))
}

fn canonical(range: IpNet) -> IpNet {
    const MAPPED_PREFIX_LEN: u8 = 96;
    if let IpNet::V6(v6) = range
        && v6.prefix_len() >= MAPPED_PREFIX_LEN
        && let Some(ip) = v6.addr().to_ipv4_mapped()
        && let Ok(v4) = Ipv4Net::new(ip, v6.prefix_len() - MAPPED_PREFIX_LEN)
    {
        return IpNet::V4(v4);
    }
    range
}

#[cfg(test)]
mod tests;
