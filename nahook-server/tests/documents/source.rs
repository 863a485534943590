//! The source code, as far as the reference is made from it.

use std::collections::BTreeSet;
use std::fs;

use crate::markdown::{files, root};

/// The documentation that stands before a line, as one text: from its `///` lines above.
pub(crate) fn documentation(lines: &[&str], of_line: usize) -> String {
    let mut above = Vec::new();
    for line in lines[..of_line].iter().rev() {
        let line = line.trim();
        match line.strip_prefix("///") {
            Some(text) => above.push(text.trim()),
            None if line.starts_with("#[") => {}
            None => break,
        }
    }
    above.reverse();
    above.join(" ").trim().to_owned()
}

/// Names like `NAHOOK_…` in a text.
pub(crate) fn names(text: &str) -> Vec<&str> {
    let is_of_name = |it: char| it.is_ascii_uppercase() || it.is_ascii_digit() || it == '_';
    text.match_indices("NAHOOK_")
        .filter(|(start, _)| !text[..*start].ends_with(is_of_name))
        .map(|(start, _)| {
            let rest = &text[start..];
            &rest[..rest.find(|it| !is_of_name(it)).unwrap_or(rest.len())]
        })
        .collect()
}

/// Every name like `NAHOOK_…` that a program, a test or a script reads.
pub(crate) fn names_in_code() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for path in files(&root(), "rs") {
        let text = fs::read_to_string(path).unwrap();
        // As a whole literal.
        let literals = text.split('"').filter(|it| names(it) == [*it]);
        found.extend(literals.map(str::to_owned));
    }
    for entry in fs::read_dir(root().join("scripts")).unwrap() {
        let text = fs::read_to_string(entry.unwrap().path()).unwrap();
        found.extend(names(&text).into_iter().map(str::to_owned));
    }
    // Streams are named after the prefix, which is `nahook` unless it is set.
    let streams = root().join("nahook-nats/src/layout/names.rs");
    let streams = fs::read_to_string(streams).unwrap();
    for suffix in streams.split("\"{}_").skip(1) {
        let suffix = suffix.split('"').next().unwrap();
        found.insert(format!("NAHOOK_{suffix}"));
    }
    found
}
