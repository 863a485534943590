//! `SECURITY.md` makes no promise without a test that exists.

use std::fs;

use crate::markdown::root;

/// The named tests of a text with the files that they are linked to: ``[`name`](path)``.
fn tests_of(text: &str) -> Vec<(&str, &str)> {
    let links = text.split("[`").skip(1);
    let links = links.filter_map(|link| link.split_once("`]("));
    let tests = links.filter_map(|(name, rest)| Some((name, rest.split_once(')')?.0)));
    tests.collect()
}

/// Says what is wrong with a named test, if anything is.
fn problem(name: &str, path: &str) -> Option<String> {
    let Ok(source) = fs::read_to_string(root().join(path)) else {
        return Some(format!("there is no {path}"));
    };
    let found = [
        format!("\nfn {name}("),
        format!("\nasync fn {name}("),
        format!("\n    fn {name}("),
        format!("\n    async fn {name}("),
    ];
    let at = found.iter().find_map(|declared| source.find(declared));
    let Some(at) = at else {
        return Some(format!("{path} has no test {name}"));
    };
    let above: Vec<_> = source[..at].lines().rev().take(8).collect();
    let is_test = above
        .iter()
        .map_while(|line| (!line.trim_start().starts_with('}')).then_some(line.trim_start()))
        .any(|line| line.starts_with("#[test]") || line.starts_with("#[tokio::test"));
    (!is_test).then(|| format!("{name} of {path} is no test"))
}

#[test]
fn every_promise_names_tests_that_exist() {
    let text = fs::read_to_string(root().join("SECURITY.md")).unwrap();
    let promises = text.split("\n## Promises\n").nth(1).unwrap();
    let promises = promises.split("\n## ").next().unwrap();
    let rows = promises.lines().filter(|line| line.starts_with("| "));
    let rows = rows.filter(|line| !line.starts_with("| promise") && !line.starts_with("| ---"));
    let (mut problems, mut count) = (Vec::new(), 0);
    for row in rows {
        let tests = tests_of(row);
        if tests.is_empty() {
            problems.push(format!("no test: {row}"));
        }
        count += tests.len();
        problems.extend(tests.iter().filter_map(|(name, path)| problem(name, path)));
    }
    assert!(problems.is_empty(), "\n{}", problems.join("\n"));
    assert!(count > 20, "only {count} tests were found");
}

#[test]
fn missing_tests_are_noticed() {
    let this = "nahook-server/tests/documents/security.rs";
    assert_eq!(problem("missing_tests_are_noticed", this), None);
    assert!(problem("every_promise", this).is_some());
    assert!(problem("problem", this).is_some());
    assert!(problem("missing_tests_are_noticed", "nowhere.rs").is_some());
}
