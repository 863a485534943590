//! Where settings come from, and which are refused.

use super::*;

fn args() -> SettingsArgs {
    SettingsArgs::default()
}

#[test]
fn the_defaults_are_those_of_the_readme() {
    let settings = args().resolve().unwrap();
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
    std::fs::write(
        &path,
        "listen = '127.0.0.1:1'\nstore = 'sqlite:///tmp/x.db'\nretention_days = 30\n",
    )
    .unwrap();
    let config = Some(path);
    let listen = Some("127.0.0.1:2".to_owned());
    let settings = SettingsArgs {
        config,
        listen,
        ..args()
    }
    .resolve()
    .unwrap();
    assert_eq!(settings.listen.port(), 2);
    assert_eq!(settings.store, StoreUrl::Sqlite("/tmp/x.db".into()));
    assert_eq!(settings.retention, Duration::from_hours(30 * 24));
}

#[test]
fn a_wrong_setting_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("nahook.toml");
    std::fs::write(&path, "listen = 'nowhere'\n").unwrap();
    let text = |text: &str| Some(text.to_owned());
    for (args, named) in [
        (
            SettingsArgs {
                listen: text("here"),
                ..args()
            },
            "--listen",
        ),
        (
            SettingsArgs {
                store: text("mysql://x"),
                ..args()
            },
            "--store",
        ),
        (
            SettingsArgs {
                store: text("sqlite://"),
                ..args()
            },
            "--store",
        ),
        (
            SettingsArgs {
                queue: text("kafka://x"),
                ..args()
            },
            "--queue",
        ),
        (
            SettingsArgs {
                role: Some(Role::Worker),
                ..args()
            },
            "--role: the processes",
        ),
        (
            SettingsArgs {
                allow_endpoint_ranges: Some(vec!["10.0.0.0/33".into()]),
                ..args()
            },
            "--allow-endpoint-range",
        ),
        (
            SettingsArgs {
                portal_url: text("portal"),
                ..args()
            },
            "--portal-url",
        ),
        (
            SettingsArgs {
                retention_days: Some(0),
                ..args()
            },
            "--retention-days: 0 is not a number of days from 1 to 365",
        ),
        (
            SettingsArgs {
                retention_days: Some(366),
                ..args()
            },
            "--retention-days: 366",
        ),
        (
            SettingsArgs {
                config: Some(path),
                ..args()
            },
            "listen",
        ),
        (
            SettingsArgs {
                config: Some("/does/not/exist".into()),
                ..args()
            },
            "/does/not/exist",
        ),
    ] {
        let error = args.resolve().unwrap_err().report();
        assert!(error.contains(named), "{error}");
    }
}

#[test]
fn a_single_address_is_a_range() {
    let allow_endpoint_ranges = Some(vec!["127.0.0.1".to_owned(), " ::1 ".to_owned()]);
    let settings = SettingsArgs {
        allow_endpoint_ranges,
        ..args()
    }
    .resolve()
    .unwrap();
    let texts: Vec<_> = settings
        .allow_endpoint_ranges
        .iter()
        .map(IpNet::to_string)
        .collect();
    assert_eq!(texts, ["127.0.0.1/32", "::1/128"]);
}

#[test]
fn wrong_setting_of_the_listeners_is_named() {
    let text = |text: &str| Some(text.to_owned());
    for (args, named) in [
        (
            SettingsArgs {
                operations_listen: text("there"),
                ..args()
            },
            "--operations-listen",
        ),
        (
            SettingsArgs {
                trusted_proxies: Some(vec!["proxy".into()]),
                ..args()
            },
            "--trusted-proxy",
        ),
        (
            SettingsArgs {
                client_connections: Some(0),
                ..args()
            },
            "--client-connections: 0 lets nobody in",
        ),
    ] {
        let error = args.resolve().unwrap_err().report();
        assert!(error.contains(named), "{error}");
    }
}
