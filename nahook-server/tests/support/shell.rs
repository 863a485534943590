//! Command lines with `curl` in them, run as a person would run them.

use std::path::Path;
use std::process::Command;

/// Settings of curl beside its command line, so that the line stays as it is printed or documented.
const CURLRC: &str = "silent
show-error
max-time = 20
noproxy = \"*\"
write-out = \"\\n%{http_code}\"
";

/// Runs a line that holds one `curl` command; answers the status and the body that curl got.
pub(crate) async fn shell(dir: &Path, line: &str) -> (u16, String) {
    std::fs::write(dir.join(".curlrc"), CURLRC).unwrap();
    let mut command = Command::new("sh");
    command
        .args(["-c", line])
        .env("CURL_HOME", dir)
        .current_dir(dir);
    let output = tokio::task::spawn_blocking(move || command.output())
        .await
        .unwrap()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{line}\n{said}\n{text}");
    let (body, status) = text.rsplit_once('\n').unwrap();
    (status.parse().unwrap(), body.to_owned())
}
