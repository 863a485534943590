//! Tools that the test command installs for tests beyond Debian's packages.

use std::path::PathBuf;

/// The folder of what `scripts/install-test-tools` installs: `NAHOOK_TEST_TOOLS`, or `target/test-tools`.
fn folder() -> PathBuf {
    std::env::var_os("NAHOOK_TEST_TOOLS").map_or_else(
        || concat!(env!("CARGO_MANIFEST_DIR"), "/../target/test-tools").into(),
        PathBuf::from,
    )
}

/// A program, or a folder of them, in that folder. Panics, saying what to run, where it is missing.
pub(crate) fn tool(name: &str) -> PathBuf {
    let path = folder().join(name);
    assert!(
        path.exists(),
        "{} is not there: run scripts/install-test-tools",
        path.display()
    );
    path
}

/// The folder of what drives the browser: `playwright-core` and `axe-core`.
pub fn browser() -> PathBuf {
    tool("browser")
}

/// The source distribution of Python's `nahook`, with its suites.
pub fn nahook_python() -> PathBuf {
    tool("nahook-python")
}

/// A Python interpreter that has `nats-py`, for the consumers in the examples, schemathesis, and what the suites of
/// [`nahook_python`] need.
pub fn python() -> PathBuf {
    tool("python/bin/python")
}
