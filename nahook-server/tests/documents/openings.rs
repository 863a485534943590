//! Openings of doc comments: an item is introduced by a noun or a verb, and not by a question word.

use std::collections::BTreeMap;
use std::fs;

use crate::markdown::{files, root};

const QUESTION_WORDS: [&str; 5] = ["What", "Whether", "Who", "Where", "How"];

/// Share of a crate's doc comments, in percent, that must not be reached.
const PERCENT: usize = 5;

/// Returns the lines of a source file at which doc comments begin, from 1, each with its first word.
fn openings(source: &str) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    let mut before = None;
    for (number, line) in source.lines().enumerate() {
        let line = line.trim_start();
        let marker = ["///", "//!"].into_iter().find(|it| line.starts_with(it));
        if let Some(marker) = marker
            && before != Some(marker)
        {
            let text = line[marker.len()..].trim_start();
            let word = text.split(|it: char| !it.is_alphanumeric()).next();
            found.push((number + 1, word.unwrap_or_default()));
        }
        before = marker;
    }
    found
}

#[test]
fn few_doc_comments_of_a_crate_open_with_a_question_word() {
    let root = root();
    let mut crates = BTreeMap::<String, (usize, Vec<String>)>::new();
    for path in files(&root, "rs") {
        let path = path.strip_prefix(&root).unwrap();
        let Some((package, rest)) = path.to_str().unwrap().split_once('/') else {
            continue;
        };
        if !package.starts_with("nahook-") || !rest.starts_with("src/") {
            continue;
        }
        let source = fs::read_to_string(root.join(path)).unwrap();
        let (count, questions) = crates.entry(package.to_owned()).or_default();
        for (line, word) in openings(&source) {
            *count += 1;
            if QUESTION_WORDS.contains(&word) {
                questions.push(format!("{}:{line}: opens with {word}", path.display()));
            }
        }
    }
    assert!(crates.len() > 10, "the crates were not found");
    for (package, (count, questions)) in crates {
        assert!(
            questions.len() * 100 < count * PERCENT,
            "{} of {count} doc comments of {package}:\n{}",
            questions.len(),
            questions.join("\n")
        );
    }
}

#[test]
fn only_the_first_word_of_a_doc_comment_is_its_opening() {
    let source = "//! Where it is.\n\n/// Whether\n/// How it goes.\n#[test]\nfn what() {} // Who\n    /// What's there.\n";
    let expected = [(1, "Where"), (3, "Whether"), (7, "What")];
    assert_eq!(openings(source), expected);
}
