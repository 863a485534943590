//! Settings by flag, environment and file.

use std::path::Path;

use crate::support::SOON;
use crate::support::process::Nahook;
use crate::support::server::announced_address;

/// Starts the program, which must refuse to; answers what it says.
async fn refusal(dir: &Path, arguments: &[&str], env: &[(&str, &str)]) -> String {
    let ended = Nahook::start_with(dir, arguments, env).ended(SOON).await;
    assert!(
        !ended.success && ended.stdout.is_empty(),
        "{arguments:?} {env:?}: {}",
        ended.stdout
    );
    ended.stderr
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_setting_is_refused_at_start_and_named_wherever_it_comes_from() {
    let dir = tempfile::tempdir().unwrap();
    let wrong = [
        ("listen", "LISTEN", "nowhere"),
        ("store", "STORE", "mysql://root:hunter2@localhost/x"),
        ("queue", "QUEUE", "kafka://root:hunter2@localhost"),
        (
            "allow-endpoint-range",
            "ALLOW_ENDPOINT_RANGES",
            "127.0.0.0/40",
        ),
        ("limiter-down", "LIMITER_DOWN", "perhaps"),
        ("retention-days", "RETENTION_DAYS", "0"),
        ("retention-days", "RETENTION_DAYS", "366"),
        ("retention-days", "RETENTION_DAYS", "a week"),
        ("log-format", "LOG_FORMAT", "poetry"),
        (
            "postgres-direct-url",
            "POSTGRES_DIRECT_URL",
            "mysql://root:hunter2@localhost/x",
        ),
        ("postgres-connections", "POSTGRES_CONNECTIONS", "2"),
        ("role", "ROLE", "spectator"),
        ("role", "ROLE", "worker"),
        ("sample", "SAMPLE", "some"),
        ("hold-deliveries", "HOLD_DELIVERIES", "some"),
        (
            "create-unknown-event-types",
            "CREATE_UNKNOWN_EVENT_TYPES",
            "some",
        ),
    ];
    for (flag, variable, value) in wrong {
        let flag = format!("--{flag}");
        let by_flag = refusal(dir.path(), &["serve", &flag, value], &[]).await;
        assert!(by_flag.contains(&flag), "{by_flag}");
        let variable = format!("NAHOOK_{variable}");
        let by_variable = refusal(dir.path(), &["serve"], &[(&variable, value)]).await;
        assert!(
            by_variable.contains(&flag) || by_variable.contains(&variable),
            "{by_variable}"
        );
        assert!(
            !by_flag.contains("hunter2") && !by_variable.contains("hunter2"),
            "{by_flag}"
        );
    }
    let by_nothing = refusal(dir.path(), &["serve", "--no-such-setting", "x"], &[]).await;
    assert!(by_nothing.contains("--no-such-setting"), "{by_nothing}");
    assert!(
        !dir.path().join("nahook-data").exists(),
        "a refused start leaves nothing behind"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_file_is_refused_and_named_with_the_setting() {
    let dir = tempfile::tempdir().unwrap();
    for (text, named) in [
        ("listen = 'nowhere'", "--listen"),
        ("store = 'mysql://x'", "--store"),
        (
            "allow_endpoint_ranges = ['10.0.0.0/40']",
            "--allow-endpoint-range",
        ),
        ("sample = 'some'", "sample"),
        ("limiter_down = 'perhaps'", "limiter_down"),
        (
            "[postgres]\ndirect_url = 'nowhere'",
            "--postgres-direct-url",
        ),
        ("[postgres]\nconnections = 2", "--postgres-connections"),
        ("[postgres]\ncolour = 'red'", "colour"),
        ("colour = 'red'", "colour"),
        ("listen =", "nahook.toml"),
    ] {
        std::fs::write(dir.path().join("nahook.toml"), text).unwrap();
        let said = refusal(dir.path(), &["serve", "--config", "nahook.toml"], &[]).await;
        assert!(said.contains(named), "{text}: {said}");
    }
    let said = refusal(dir.path(), &["serve"], &[("NAHOOK_CONFIG", "missing.toml")]).await;
    assert!(said.contains("missing.toml"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flag_goes_before_the_environment_and_the_environment_before_the_file() {
    let root = tempfile::tempdir().unwrap();
    let file = root.path().join("nahook.toml");
    std::fs::write(
        &file,
        "listen = '127.0.0.1:0'\ndata_dir = 'from-file'\nsample = false\n",
    )
    .unwrap();
    let config = ("NAHOOK_CONFIG", file.to_str().unwrap());
    let variable = ("NAHOOK_DATA_DIR", "from-environment");
    for (arguments, env, chosen) in [
        (&[][..], vec![config], "from-file"),
        (&[], vec![config, variable], "from-environment"),
        (
            &["serve", "--data-dir", "from-flag"],
            vec![config, variable],
            "from-flag",
        ),
    ] {
        let dir = tempfile::tempdir_in(root.path()).unwrap();
        let mut nahook = Nahook::start_with(dir.path(), arguments, &env);
        announced_address(&mut nahook).await;
        let made: Vec<_> = std::fs::read_dir(dir.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        assert_eq!(made, [chosen]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_can_be_named_by_url() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("deep/inside/own.db");
    let url = format!("sqlite://{}", file.display());
    let arguments = ["serve", "--listen", "127.0.0.1:0", "--store", &url];
    let mut nahook = Nahook::start(dir.path(), &arguments);
    announced_address(&mut nahook).await;
    assert!(file.exists());
    let mut nahook = Nahook::start(
        dir.path(),
        &["--listen", "127.0.0.1:0", "--store", "memory://"],
    );
    announced_address(&mut nahook).await;
    assert!(!dir.path().join("nahook-data").exists());
}

/// Every setting of the server, by flag and by environment variable.
fn settings(help: &str) -> Vec<(String, String)> {
    let setting = |line: &str| {
        let variable = line.split("[env: ").nth(1)?;
        let variable = variable.split(['=', ']']).next()?;
        Some(variable.to_owned())
    };
    let variables = help.lines().filter_map(setting);
    let flag = |variable: &String| {
        let name = variable.strip_prefix("NAHOOK_").unwrap();
        format!("--{}", name.to_lowercase().replace('_', "-"))
    };
    variables
        .map(|variable| (singular(&flag(&variable)), variable))
        .collect()
}

/// A flag is given once for each of what its variable lists.
fn singular(flag: &str) -> String {
    let plurals = [
        ("-ranges", "-range"),
        ("-ports", "-port"),
        ("-proxies", "-proxy"),
    ];
    let singular = plurals
        .iter()
        .find_map(|(many, one)| Some(flag.strip_suffix(many)?.to_owned() + one));
    singular.unwrap_or_else(|| flag.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_that_are_empty_are_unset() {
    let dir = tempfile::tempdir().unwrap();
    let help = Nahook::run(dir.path(), &["serve", "--help"]).await;
    let settings = settings(&help.stdout);
    assert!(settings.len() >= 20, "{settings:?}");
    let mut arguments = vec!["serve"];
    let mut env = vec![
        ("RUST_LOG", ""),
        ("SSL_CERT_FILE", ""),
        ("SSL_CERT_DIR", ""),
    ];
    for (flag, variable) in &settings {
        arguments.extend([flag.as_str(), ""]);
        env.push((variable, ""));
    }
    arguments.extend(["--listen", "127.0.0.1:0"]);
    let mut by_flag = Nahook::start_with(dir.path(), &arguments, &[]);
    announced_address(&mut by_flag).await;
    by_flag.kill();
    let listen = ["serve", "--listen", "127.0.0.1:0"];
    let mut by_variable = Nahook::start_with(dir.path(), &listen, &env);
    announced_address(&mut by_variable).await;
    assert!(dir.path().join("nahook-data/nahook.db").exists());
    by_variable.kill();
    let file = "store = ''\nretention_days = ''\nsample = ''\ntrusted_proxies = ''\nrole = ''\n\
        operations_listen = ''\n[tls]\ncert = ''\nkey = ''\n[nats]\npassword = ''\n";
    std::fs::write(dir.path().join("n.toml"), file).unwrap();
    let mut by_file = Nahook::start_with(
        dir.path(),
        &[&listen[..], &["--config", "n.toml"]].concat(),
        &[],
    );
    announced_address(&mut by_file).await;
    // Commands that need a setting say so.
    let key = [("NAHOOK_API_KEY", "")];
    let said = refusal(dir.path(), &["trigger", "order.paid"], &key).await;
    assert!(said.contains("--api-key"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn authorities_that_cannot_be_read_are_refused_at_start() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("empty.pem"), "").unwrap();
    let serve = ["serve", "--listen", "127.0.0.1:0", "--sample", "false"];
    let (file, directory) = ("SSL_CERT_FILE", "SSL_CERT_DIR");
    for (variable, path, other) in [
        (file, "nowhere.pem", directory),
        (file, "empty.pem", directory),
        (directory, "nowhere", file),
    ] {
        let said = refusal(dir.path(), &serve, &[(variable, path), (other, "")]).await;
        assert!(said.contains(variable), "{path}: {said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn byte_order_marks_are_passed_over() {
    const MARK: char = '\u{feff}';
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        std::fs::write(dir.path().join(name), format!("{MARK}{text}")).unwrap();
    };
    write("m.toml", "[[workspaces]]\nname = 'a'\n");
    write("m.json", "{\"workspaces\": []}");
    write("n.toml", "data_dir = 'nahook-data'\n");
    write("history", "\n");
    let config = ["--config", "n.toml"];
    for command in [
        ["apply", "m.toml"],
        ["apply", "m.json"],
        ["import", "history"],
    ] {
        let ended = Nahook::run(dir.path(), &[&command[..], &config].concat()).await;
        assert!(ended.success, "{command:?}: {}", ended.stderr);
    }
}
