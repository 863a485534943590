//! The pages of the reference: made from the code, and compared with what is in the repository.

use std::fmt::Write as _;
use std::fs;

use crate::markdown::root;

/// The command that writes the pages anew.
const BLESS: &str = "NAHOOK_BLESS=1 cargo test -p nahook-server --test documents";

/// Compares a page with what the code says, or writes it if `NAHOOK_BLESS` is set.
pub(crate) fn check_page(name: &str, title: &str, body: &str) {
    let path = root().join("docs/reference").join(name);
    let made = format!(
        "# {title}\n\n<!-- Made from the code by `{BLESS}`. Changes by hand are lost. -->\n\n{body}"
    );
    if std::env::var_os("NAHOOK_BLESS").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, made).unwrap();
        return;
    }
    let found = fs::read_to_string(&path).unwrap_or_default();
    let differs = made
        .lines()
        .zip(found.lines())
        .find(|(made, found)| made != found);
    assert!(
        made == found,
        "docs/reference/{name} is not what the code says; {BLESS} writes it anew. First difference: {differs:?}"
    );
}

/// Adds a row of a table.
pub(crate) fn row(page: &mut String, cells: &[&str]) {
    let cells: Vec<_> = cells.iter().map(|cell| cell.replace('|', "\\|")).collect();
    let _ = writeln!(page, "| {} |", cells.join(" | "));
}
