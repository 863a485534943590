//! Where settings come from, and which are refused.

use super::*;

/// The settings of a file, as arguments.
fn file(text: &str) -> SettingsArgs {
    toml::from_str(text).unwrap()
}

#[test]
fn the_defaults_are_those_of_the_readme() {
    let settings = file("").resolve().unwrap();
    assert_eq!(settings.listen.to_string(), "127.0.0.1:3001");
    assert_eq!(
        settings.store,
        StoreUrl::Sqlite("./nahook-data/nahook.db".into())
    );
    assert_eq!(
        (settings.queue, settings.role),
        (QueueUrl::Store, Role::All)
    );
    assert_eq!(settings.retention, Duration::from_hours(7 * 24));
    assert!(settings.allow_endpoint_ranges.is_empty() && settings.sample);
    assert!(settings.trusted_proxies.is_empty() && settings.tls.is_none());
    assert_eq!(settings.operations_listen, OperationsListen::IfFree);
    assert_eq!(settings.client_connections, 4_096);
}

#[test]
fn a_flag_goes_before_the_file_and_the_file_before_the_default() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("nahook.toml");
    let text = "listen = '127.0.0.1:1'\nstore = 'sqlite:///tmp/x.db'\nretention_days = 30\n";
    std::fs::write(&path, text).unwrap();
    let mut given = file("listen = '127.0.0.1:2'");
    given.config = Some(path);
    let settings = given.resolve().unwrap();
    assert_eq!(settings.listen.port(), 2);
    assert_eq!(settings.store, StoreUrl::Sqlite("/tmp/x.db".into()));
    assert_eq!(settings.retention, Duration::from_hours(30 * 24));
}

#[test]
fn a_wrong_setting_is_named() {
    for (given, named) in [
        ("listen = 'here'", "--listen"),
        ("store = 'mysql://x'", "--store"),
        ("store = 'sqlite://'", "--store"),
        ("queue = 'kafka://x'", "--queue"),
        ("role = 'worker'", "--role: the processes"),
        (
            "allow_endpoint_ranges = ['10.0.0.0/33']",
            "--allow-endpoint-range",
        ),
        ("portal_url = 'portal'", "--portal-url"),
        (
            "retention_days = 0",
            "--retention-days: 0 is not a number of days from 1 to 365",
        ),
        ("retention_days = 366", "--retention-days: 366"),
        ("operations_listen = 'there'", "--operations-listen"),
        ("trusted_proxies = ['proxy']", "--trusted-proxy"),
        (
            "client_connections = 0",
            "--client-connections: 0 lets nobody in",
        ),
    ] {
        let error = file(given).resolve().unwrap_err().report();
        assert!(error.contains(named), "{error}");
    }
}

#[test]
fn file_that_cannot_be_used_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("nahook.toml");
    std::fs::write(&path, "listen = 'nowhere'\n").unwrap();
    for (config, named) in [
        (path, "listen"),
        ("/does/not/exist".into(), "/does/not/exist"),
    ] {
        let mut given = file("");
        given.config = Some(config);
        let error = given.resolve().unwrap_err().report();
        assert!(error.contains(named), "{error}");
    }
}

#[test]
fn a_single_address_is_a_range() {
    let given = file("allow_endpoint_ranges = ['127.0.0.1', ' ::1 ']");
    let settings = given.resolve().unwrap();
    let ranges = settings.allow_endpoint_ranges.iter();
    let texts: Vec<_> = ranges.map(IpNet::to_string).collect();
    assert_eq!(texts, ["127.0.0.1/32", "::1/128"]);
}
