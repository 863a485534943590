//! Python's `nahook`, whose source distribution carries its suites.

use std::process::Command;

use crate::run;
use crate::support::server::Server;

/// Runs the suites in that folder: all of them pass and none is skipped.
pub(crate) async fn passes(server: &Server, folder: &str) {
    let sources = nahook_testserver::nahook_python();
    let mut command = Command::new(nahook_testserver::python());
    command
        .current_dir(&sources)
        .env("PYTHONPATH", sources.join("src"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .args(["-m", "pytest", "-c", "pytest.integration.ini"])
        .args(["-p", "no:cacheprovider", "--color=no", folder]);
    let text = run(command, server).await;
    let summary = text.lines().rfind(|line| line.contains(" passed")).unwrap();
    for word in ["skipped", "failed", "error", "deselected"] {
        assert!(!summary.contains(word), "{text}");
    }
}
