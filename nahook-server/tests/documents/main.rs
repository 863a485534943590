//! The documents of the repository: their links lead somewhere, their commands and settings exist, the pages of the
//! reference are what the code says, and doc comments open with a noun or a verb.
#![cfg(test)]

#[path = "../support/mod.rs"]
mod support;

mod cli;
mod commands;
mod links;
mod manifest;
mod markdown;
mod metrics;
mod openings;
mod pages;
mod program;
mod security;
mod settings;
mod shell;
mod source;

use self::markdown::Document;

/// Fails with every problem that `check` finds in a document of the repository.
fn check_documents(check: impl Fn(&Document) -> Vec<(usize, String)>) {
    let documents = markdown::all();
    assert!(documents.len() > 30, "the documents were not found");
    let mut problems = Vec::new();
    for document in &documents {
        for (line, problem) in check(document) {
            problems.push(format!("{}:{line}: {problem}", document.path));
        }
    }
    assert!(problems.is_empty(), "\n{}", problems.join("\n"));
}

/// Checks a document that has nothing but `text` and stands beside the README.
fn problems(text: &str, check: impl Fn(&Document) -> Vec<(usize, String)>) -> Vec<String> {
    let document = Document {
        path: "planted.md".to_owned(),
        text: text.to_owned(),
    };
    check(&document)
        .into_iter()
        .map(|(_, problem)| problem)
        .collect()
}
