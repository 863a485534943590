//! Links and paths lead to files that exist.

use std::fs;
use std::path::{Component, Path, PathBuf};

use crate::markdown::{Document, root};
use crate::{check_documents, problems};

/// The forge's address of a file of the repository; crate documentation links so, since it is read elsewhere, too.
const FORGE: &str = "https://github.com/nahook/nahook/blob/main/";

/// Returns the problems of the links of a document.
fn check_links(document: &Document) -> Vec<(usize, String)> {
    let wrong = |(line, target): (usize, String)| {
        let problem = check_link(document, &target).err()?;
        Some((line, format!("{target}: {problem}")))
    };
    document.links().into_iter().filter_map(wrong).collect()
}

fn check_link(document: &Document, target: &str) -> Result<(), String> {
    let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
    let path = match path.strip_prefix(FORGE) {
        Some(path) => PathBuf::from(path),
        None if path.contains("://") || path.starts_with("mailto:") => return Ok(()),
        None if is_item(document, path) => return Ok(()),
        None if path.is_empty() => PathBuf::from(&document.path),
        None => document.directory().join(path),
    };
    let path = normal(&path);
    let file = root().join(&path);
    if !file.exists() && path.to_string_lossy() != document.path {
        return Err(format!("there is no {}", path.display()));
    }
    if anchor.is_empty() {
        return Ok(());
    }
    let text = if path.to_string_lossy() == document.path {
        document.text.clone()
    } else {
        fs::read_to_string(&file).map_err(|error| error.to_string())?
    };
    let path = path.display().to_string();
    let anchors = Document { path, text }.anchors();
    let known = || format!("no heading has that anchor; there are {anchors:?}");
    anchors.contains(anchor).then_some(()).ok_or_else(known)
}

/// Returns true if it is an item of the crate whose documentation this is: rustdoc checks those.
fn is_item(document: &Document, path: &str) -> bool {
    let is_crate = root()
        .join(document.directory())
        .join("src/lib.rs")
        .exists();
    is_crate
        && document.path.ends_with("README.md")
        && !path.is_empty()
        && path
            .chars()
            .all(|it| it.is_alphanumeric() || "_:".contains(it))
}

fn normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for component in path.components() {
        match component {
            Component::ParentDir => {
                assert!(normal.pop(), "{} leaves the repository", path.display());
            }
            Component::CurDir => {}
            other => normal.push(other),
        }
    }
    normal
}

/// Paths in code that name no file: those that begin with a directory of the repository.
fn check_paths(document: &Document) -> Vec<(usize, String)> {
    let wrong = |(line, code): (usize, String)| {
        let (first, rest) = code.split_once('/')?;
        let is_path = code
            .chars()
            .all(|it| it.is_ascii_alphanumeric() || "_-./".contains(it));
        let is_directory =
            !["", ".", "..", "target"].contains(&first) && root().join(first).is_dir();
        let is_ours = is_path && !rest.is_empty() && is_directory;
        let exists = |base: PathBuf| base.join(&code).exists();
        (is_ours && !exists(root()) && !exists(root().join(document.directory())))
            .then(|| (line, format!("there is no {code}")))
    };
    document.spans().into_iter().filter_map(wrong).collect()
}

#[test]
fn every_link_leads_to_a_file_and_to_a_heading() {
    check_documents(check_links);
}

#[test]
fn every_path_in_code_exists() {
    check_documents(check_paths);
}

#[test]
fn wrong_links_are_found() {
    for wrong in [
        "[a](no-such-file.md)",
        "[a](docs/no-such-file.md#start)",
        "[a](README.md#no-such-heading)",
        "[`a`](README.md#no-such-heading \"title\")",
        "[a](#no-such-heading)",
        "[a]: no-such-file.md",
        "![a](no-such-picture.svg)",
        "[a](https://github.com/nahook/nahook/blob/main/no-such-file.md)",
    ] {
        assert_eq!(problems(wrong, check_links).len(), 1, "{wrong}");
    }
    assert_eq!(problems("`scripts/no-such-script`", check_paths).len(), 1);
}

#[test]
fn right_links_and_code_are_passed() {
    for right in [
        "[a](README.md)",
        "[a](README.md#see-it-work) and [b](docs)",
        "# It's `x`, [here](y)?\n\n[a](#its-x-here)",
        "## Twice\n## Twice\n[a](#twice-1)",
        "```text\n[a](no-such-file.md)\n```",
        "`[a](no-such-file.md)`",
        "[a](https://example.com/no-such-file.md#x)",
    ] {
        let found = problems(right, |document| {
            let mut links = check_links(document);
            links.retain(|(_, problem)| !problem.starts_with("y:"));
            links
        });
        assert_eq!(found, [] as [&str; 0], "{right}");
    }
    assert_eq!(
        problems("`a/b` `docs/operate.md`", check_paths),
        [] as [&str; 0]
    );
}
