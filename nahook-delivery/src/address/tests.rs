use super::*;
use proptest::prelude::*;

fn permits(policy: &AddressPolicy, ip: &str) -> bool {
    policy.permits(SocketAddr::new(ip.parse().expect(ip), 443))
}

fn range(cidr: &str) -> IpNet {
    cidr.parse().expect(cidr)
}

#[test]
fn every_refused_v4_range_is_refused_to_its_edges_and_not_beyond() {
    // (first, last, whether the neighbour below and the one above are public)
    let cases = [
        ("0.0.0.0", "0.255.255.255", None, Some("1.0.0.0")),
        (
            "10.0.0.0",
            "10.255.255.255",
            Some("9.255.255.255"),
            Some("11.0.0.0"),
        ),
        (
            "100.64.0.0",
            "100.127.255.255",
            Some("100.63.255.255"),
            Some("100.128.0.0"),
        ),
        (
            "127.0.0.0",
            "127.255.255.255",
            Some("126.255.255.255"),
            Some("128.0.0.0"),
        ),
        (
            "168.63.129.16",
            "168.63.129.16",
            Some("168.63.129.15"),
            Some("168.63.129.17"),
        ),
        (
            "169.254.0.0",
            "169.254.255.255",
            Some("169.253.255.255"),
            Some("169.255.0.0"),
        ),
        (
            "172.16.0.0",
            "172.31.255.255",
            Some("172.15.255.255"),
            Some("172.32.0.0"),
        ),
        (
            "192.0.0.0",
            "192.0.0.255",
            Some("191.255.255.255"),
            Some("192.0.1.0"),
        ),
        (
            "192.0.2.0",
            "192.0.2.255",
            Some("192.0.1.255"),
            Some("192.0.3.0"),
        ),
        (
            "192.88.99.0",
            "192.88.99.255",
            Some("192.88.98.255"),
            Some("192.88.100.0"),
        ),
        (
            "192.168.0.0",
            "192.168.255.255",
            Some("192.167.255.255"),
            Some("192.169.0.0"),
        ),
        (
            "198.18.0.0",
            "198.19.255.255",
            Some("198.17.255.255"),
            Some("198.20.0.0"),
        ),
        (
            "198.51.100.0",
            "198.51.100.255",
            Some("198.51.99.255"),
            Some("198.51.101.0"),
        ),
        (
            "203.0.113.0",
            "203.0.113.255",
            Some("203.0.112.255"),
            Some("203.0.114.0"),
        ),
        (
            "224.0.0.0",
            "255.255.255.255",
            Some("223.255.255.255"),
            None,
        ),
    ];
    check(&cases);
}

#[test]
fn every_refused_v6_range_is_refused_to_its_edges_and_not_beyond() {
    let last = |prefix: &str| format!("{prefix}ffff:ffff:ffff:ffff:ffff");
    let benchmarking = last("2001:2:0:");
    let orchids = last("2001:2f:ffff:");
    let documentation = last("2001:db8:ffff:");
    let newer_documentation = last("3fff:fff:ffff:");
    let below_global = "1fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff";
    check(&[
        ("::", below_global, None, Some("2000::")),
        ("2001:2::", &benchmarking, None, Some("2001:2:1::")),
        ("2001:10::", &orchids, Some("2001:f::"), Some("2001:30::")),
        (
            "2001:db8::",
            &documentation,
            Some("2001:db7::1"),
            Some("2001:db9::"),
        ),
        (
            "3fff::",
            &newer_documentation,
            Some("3ffe::1"),
            Some("3fff:1000::"),
        ),
        (
            "4000::",
            "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
            Some("3fff:ffff::"),
            None,
        ),
    ]);
}

fn check(cases: &[(&str, &str, Option<&str>, Option<&str>)]) {
    let policy = AddressPolicy::new();
    for &(first, last, below, above) in cases {
        assert!(!permits(&policy, first), "{first}");
        assert!(!permits(&policy, last), "{last}");
        for neighbour in [below, above].into_iter().flatten() {
            assert!(permits(&policy, neighbour), "{neighbour}");
        }
    }
}

#[test]
fn addresses_of_every_refused_class_are_refused() {
    let policy = AddressPolicy::new();
    for ip in [
        "169.254.169.254",
        "169.254.170.2",
        "100.100.100.200",
        "192.0.0.192",
        "fd00:ec2::254",
        "::",
        "::1",
        "fe80::1",
        "febf::1",
        "fec0::1",
        "fc00::1",
        "fdff::1",
        "ff02::1",
        "ff0e::1",
        "100::1",
        "5f00::1",
        // IPv4-compatible, IPv4-translated (SIIT), local-use NAT64
        "::127.0.0.1",
        "::8.8.8.8",
        "::ffff:0:127.0.0.1",
        "64:ff9b:1::a00:1",
        // mapped
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "::ffff:169.254.169.254",
        "::ffff:0.0.0.0",
        // NAT64, 6to4, Teredo (server in clear, client flipped) over a refused address
        "64:ff9b::127.0.0.1",
        "64:ff9b::a9fe:a9fe",
        "2002:7f00:1::",
        "2002:a9fe:a9fe::1",
        "2002:a00:1:ffff::1",
        "2001:0:7f00:1:0:0:f7f7:f7f7",
        "2001:0:808:808:0:0:80ff:fffe",
    ] {
        assert!(!permits(&policy, ip), "{ip}");
    }
}

#[test]
fn public_addresses_are_permitted_in_every_form() {
    let policy = AddressPolicy::new();
    for ip in [
        "1.1.1.1",
        "8.8.8.8",
        "192.31.196.1",
        "2606:4700:4700::1111",
        "2001:4860:4860::8888",
        "2a00::1",
        "::ffff:8.8.8.8",
        "64:ff9b::8.8.8.8",
        "2002:808:808::1",
        "2001:0:808:808:0:0:f7f7:f7f7",
    ] {
        assert!(permits(&policy, ip), "{ip}");
    }
}

#[test]
fn an_opened_range_opens_its_mapped_form_and_nothing_else() {
    let policy = AddressPolicy::new().allow_range(range("10.1.0.0/16"));
    for ip in ["10.1.0.0", "10.1.255.255", "::ffff:10.1.2.3"] {
        assert!(permits(&policy, ip), "{ip}");
    }
    for ip in [
        "10.0.255.255",
        "10.2.0.0",
        "::ffff:10.2.0.1",
        "64:ff9b::10.1.0.1",
        "::10.1.0.1",
    ] {
        assert!(!permits(&policy, ip), "{ip}");
    }
}

#[test]
fn a_range_written_in_mapped_form_opens_the_v4_range() {
    let policy = AddressPolicy::new().allow_range(range("::ffff:10.1.0.0/112"));
    assert!(permits(&policy, "10.1.2.3"));
    assert!(permits(&policy, "::ffff:10.1.2.3"));
    assert!(!permits(&policy, "10.2.0.1"));
}

#[test]
fn opening_all_of_v6_opens_no_v4() {
    let policy = AddressPolicy::new().allow_range(range("::/0"));
    assert!(permits(&policy, "fd00::1"));
    assert!(!permits(&policy, "10.0.0.1"));
    assert!(!permits(&policy, "::ffff:10.0.0.1"));
}

#[test]
fn an_opened_socket_opens_one_port_of_one_address() {
    let socket = |text: &str| text.parse::<SocketAddr>().expect(text);
    let policy = AddressPolicy::new().allow_socket(socket("127.0.0.1:9000"));
    assert!(policy.permits(socket("127.0.0.1:9000")));
    assert!(policy.permits(socket("[::ffff:127.0.0.1]:9000")));
    assert!(!policy.permits(socket("127.0.0.1:9001")));
    assert!(!policy.permits(socket("127.0.0.2:9000")));
    assert!(!policy.permits(socket("[::1]:9000")));
}

proptest! {
    #[test]
    fn a_mapped_address_is_judged_as_its_v4(bits: u32, net: u32, prefix_len in 0u8..=32, port: u16) {
        let v4 = Ipv4Addr::from_bits(bits);
        let opened = Ipv4Net::new(Ipv4Addr::from_bits(net), prefix_len).expect("prefix").trunc();
        for policy in [AddressPolicy::new(), AddressPolicy::new().allow_range(opened.into())] {
            prop_assert_eq!(
                policy.permits(SocketAddr::new(v4.into(), port)),
                policy.permits(SocketAddr::new(v4.to_ipv6_mapped().into(), port))
            );
        }
    }

    #[test]
    fn whatever_std_calls_internal_is_refused(bits: u32) {
        let ip = Ipv4Addr::from_bits(bits);
        let internal = ip.is_private() || ip.is_loopback() || ip.is_link_local() || ip.is_multicast()
            || ip.is_broadcast() || ip.is_documentation() || ip.is_unspecified();
        prop_assert!(!(internal && AddressPolicy::new().permits(SocketAddr::new(ip.into(), 80))));
    }

    #[test]
    fn a_form_that_embeds_a_refused_v4_is_refused(bits: u32, rest: u64) {
        let ip = Ipv4Addr::from_bits(bits);
        let policy = AddressPolicy::new();
        let v4 = policy.permits(SocketAddr::new(ip.into(), 80));
        let low = u128::from(bits);
        let nat64 = 0x64_ff9b_u128 << 96 | low;
        let six_to_four = 0x2002_u128 << 112 | low << 80 | u128::from(rest);
        for form in [nat64, six_to_four] {
            let form = IpAddr::V6(Ipv6Addr::from_bits(form));
            prop_assert_eq!(policy.permits(SocketAddr::new(form, 80)), v4);
        }
        let teredo = 0x2001_u128 << 112 | 0x0808_0808_u128 << 64 | u128::from(!bits);
        let teredo = IpAddr::V6(Ipv6Addr::from_bits(teredo));
        prop_assert_eq!(policy.permits(SocketAddr::new(teredo, 80)), v4);
    }
}

#[test]
fn only_listed_ports_are_permitted_where_any_are_listed() {
    let inbox: SocketAddr = "127.0.0.1:4000".parse().unwrap();
    let range = "10.0.0.0/8".parse().unwrap();
    let policy = AddressPolicy::new().allow_range(range).allow_socket(inbox);
    let listed = policy.clone().allow_port(443).allow_port(8443);
    for (socket, by_all, by_listed) in [
        ("8.8.8.8:443", true, true),
        ("8.8.8.8:25", true, false),
        ("10.0.0.1:8443", true, true),
        ("10.0.0.1:5432", true, false),
        ("127.0.0.1:4000", true, true),
        ("127.0.0.1:443", false, false),
    ] {
        let socket = socket.parse().unwrap();
        assert_eq!(policy.permits(socket), by_all, "{socket}");
        assert_eq!(listed.permits(socket), by_listed, "{socket}");
    }
}
