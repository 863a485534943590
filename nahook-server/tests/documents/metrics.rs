//! The page of metrics is what the code records.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use crate::markdown::{Document, files, root};
use crate::pages::{check_page, row};
use crate::source::documentation;
use crate::support::api::Api;
use crate::support::manifest::{EVENT_TYPE, KEY, endpoint, shop};
use crate::support::server::Server;
use crate::{check_documents, problems};

/// The crates that record metrics, with what their part of the page is called.
const CRATES: &[(&str, &str)] = &[
    ("nahook-http", "HTTP"),
    ("nahook-delivery", "Deliveries"),
    ("nahook-server", "The server"),
    ("nahook-supervision", "Loops"),
    ("nahook-sqlite", "With a store on a file"),
    ("nahook-postgres", "With a store on Postgres"),
    ("nahook-nats", "With a queue on NATS"),
    ("nahook-embed", "The log beside a queue on NATS"),
];

/// A constant text and its documentation.
struct Constant {
    value: String,
    meaning: String,
}

#[derive(Default)]
struct Metric {
    kinds: BTreeSet<&'static str>,
    labels: BTreeSet<String>,
    is_described: bool,
}

/// The sources of a crate, without its tests.
fn sources(package: &str) -> Vec<String> {
    let sources = files(&root().join(package).join("src"), "rs");
    sources
        .into_iter()
        .map(|path| fs::read_to_string(path).unwrap())
        .collect()
}

/// The texts that are constants in the crate's `metric.rs`, by their names.
fn constants(package: &str) -> BTreeMap<String, Constant> {
    let src = root().join(package).join("src");
    let is_of_metrics = |path: &Path| path.file_name().is_some_and(|it| it == "metric.rs");
    let path = files(&src, "rs")
        .into_iter()
        .find(|path| is_of_metrics(path));
    let text = fs::read_to_string(path.unwrap()).unwrap();
    let lines: Vec<_> = text.lines().collect();
    let constant = |(index, line): (usize, &&str)| {
        let (name, value) = line.split_once("const ")?.1.split_once(": &str = \"")?;
        let value = value.split('"').next().unwrap().to_owned();
        let meaning = documentation(&lines, index);
        Some((name.to_owned(), Constant { value, meaning }))
    };
    lines.iter().enumerate().filter_map(constant).collect()
}

/// The arguments of each call of the macro: what stands between its parentheses, split at commas outside of any.
fn calls(source: &str, name: &str) -> Vec<Vec<String>> {
    let mut calls = Vec::new();
    for (start, opening) in source.match_indices(&format!("{name}!(")) {
        let before = source[..start].chars().next_back();
        if before.is_some_and(|it| it.is_alphanumeric() || it == '_') {
            continue;
        }
        let (mut depth, mut is_text) = (0, false);
        let mut arguments = vec![String::new()];
        for it in source[start + opening.len()..].chars() {
            match it {
                '"' => is_text = !is_text,
                '(' | '[' | '{' if !is_text => depth += 1,
                ')' | ']' | '}' if !is_text && depth == 0 => break,
                ')' | ']' | '}' if !is_text => depth -= 1,
                ',' if !is_text && depth == 0 => {
                    arguments.push(String::new());
                    continue;
                }
                _ => {}
            }
            arguments.last_mut().unwrap().push(it);
        }
        calls.push(arguments.iter().map(|it| it.trim().to_owned()).collect());
    }
    calls
}

/// The metrics of a crate, by the names of their constants, as the code records them.
fn metrics(package: &str, constants: &BTreeMap<String, Constant>) -> BTreeMap<String, Metric> {
    let mut metrics = BTreeMap::<String, Metric>::new();
    let name_of = |argument: &str| {
        let name = argument.rsplit("::").next().unwrap().to_owned();
        assert!(
            constants.contains_key(&name),
            "{package}: {argument} is no constant of metric.rs"
        );
        name
    };
    for source in sources(package) {
        for kind in ["counter", "gauge", "histogram"] {
            for arguments in calls(&source, kind) {
                let metric = metrics.entry(name_of(&arguments[0])).or_default();
                metric.kinds.insert(kind);
                let labels = arguments.iter().filter_map(|it| it.split_once("=>"));
                metric
                    .labels
                    .extend(labels.map(|(label, _)| label.trim().to_owned()));
            }
            for arguments in calls(&source, &format!("describe_{kind}")) {
                let metric = metrics.entry(name_of(&arguments[0])).or_default();
                metric.is_described = true;
            }
        }
    }
    metrics
}

/// The label's name, with its values if they are documented.
fn label(label: &str, constants: &BTreeMap<String, Constant>) -> String {
    if let Some(literal) = label.strip_prefix('"') {
        return format!("`{}`", literal.trim_end_matches('"'));
    }
    let constant = &constants[label.rsplit("::").next().unwrap()];
    let values = constant
        .meaning
        .trim_start_matches("Label: ")
        .trim_end_matches('.');
    format!("`{}`: {values}", constant.value)
}

/// The rows of a crate: name, kind, labels, meaning.
fn rows(package: &str) -> Vec<[String; 4]> {
    let constants = constants(package);
    let metrics = metrics(package, &constants);
    let is_metric = |constant: &&Constant| constant.value.starts_with("nahook_");
    assert_eq!(
        metrics.len(),
        constants.values().filter(is_metric).count(),
        "{package} has a metric that nothing records"
    );
    let row = |(name, metric): (String, Metric)| {
        let constant = &constants[&name];
        assert!(metric.is_described, "{package} does not describe {name}");
        assert_eq!(
            metric.kinds.len(),
            1,
            "{package}: {name} is of several kinds"
        );
        let kind = metric.kinds.into_iter().next().unwrap();
        let mut meaning = constant.meaning.clone();
        for beginning in ["Counter: ", "Gauge: ", "Histogram: "] {
            if let Some(rest) = meaning.strip_prefix(beginning) {
                meaning = rest[..1].to_uppercase() + &rest[1..];
            }
        }
        for (name, constant) in &constants {
            meaning = meaning.replace(&format!("[`{name}`]"), &format!("`{}`", constant.value));
        }
        let labels: Vec<_> = metric
            .labels
            .iter()
            .map(|it| label(it, &constants))
            .collect();
        [
            format!("`{}`", constant.value),
            kind.to_owned(),
            labels.join("; "),
            meaning,
        ]
    };
    let mut rows: Vec<_> = metrics.into_iter().map(row).collect();
    rows.sort();
    rows
}

fn page() -> String {
    let mut page = String::from(
        "What `/metrics` at `--operations-listen` exports for Prometheus, and what a program that embeds the crates records through the `metrics` facade. A metric is \
         shown once it has been recorded.\n",
    );
    for (package, title) in CRATES {
        let _ = write!(page, "\n## {title}\n\nBy `{package}`.\n\n");
        row(&mut page, &["metric", "type", "labels", "meaning"]);
        row(&mut page, &["---"; 4]);
        for cells in rows(package) {
            row(&mut page, &cells.each_ref().map(String::as_str));
        }
    }
    page
}

/// The words of the schema on SQLite, whose names begin as metrics do.
fn words_of_schema() -> BTreeSet<String> {
    let schema = files(&root().join("nahook-sqlite/src/schema"), "sql");
    let texts = schema
        .into_iter()
        .map(|path| fs::read_to_string(path).unwrap());
    let is_other = |it: char| !it.is_ascii_alphanumeric() && it != '_';
    texts
        .flat_map(|text| text.split(is_other).map(str::to_owned).collect::<Vec<_>>())
        .collect()
}

/// Metrics that a document names and nothing records.
fn check_metrics(document: &Document) -> Vec<(usize, String)> {
    let (page, schema) = (page(), words_of_schema());
    let wrong = |(line, code): (usize, String)| {
        let name = code.split('{').next().unwrap();
        let is_metric = name.starts_with("nahook_")
            && name.bytes().all(|it| it.is_ascii_lowercase() || it == b'_')
            && !root().join(name.replace('_', "-")).exists()
            && !schema.contains(name);
        (is_metric && !page.contains(&format!("| `{name}` |")))
            .then(|| (line, format!("nothing records {name}")))
    };
    document.spans().into_iter().filter_map(wrong).collect()
}

#[test]
fn every_metric_exists() {
    check_documents(check_metrics);
}

#[test]
fn wrong_metrics_are_found() {
    assert_eq!(problems("`nahook_no_such_total`", check_metrics).len(), 1);
    let right =
        "`nahook_triggers_total{outcome}` `nahook_core` `nahook_core::FanOut` `nahook_trigger`";
    assert_eq!(problems(right, check_metrics), [] as [&str; 0]);
}

#[test]
fn page_of_metrics_is_what_the_code_records() {
    check_page("metrics.md", "Metrics", &page());
}

#[tokio::test(flavor = "multi_thread")]
async fn every_metric_that_a_server_exports_is_on_the_page() {
    let server = Server::with(&shop(vec![endpoint("ep_a", "http://127.0.0.1:9/")])).await;
    let api = Api::new(server.address, KEY);
    assert_eq!(api.trigger(EVENT_TYPE, "{}").await.status, 202);
    let scrape = server.metrics().await;
    let page = page();
    let exported = scrape
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE "));
    let mut count = 0;
    for line in exported {
        let (name, kind) = line.split_once(' ').unwrap();
        assert!(page.contains(&format!("| `{name}` | {kind} |")), "{line}");
        count += 1;
    }
    assert!(count > 5, "{scrape}");
}

#[test]
fn every_crate_that_records_is_on_the_page() {
    for entry in fs::read_dir(root()).unwrap() {
        let path = entry.unwrap().path();
        let package = path.file_name().unwrap().to_string_lossy().into_owned();
        if !package.starts_with("nahook-") || CRATES.iter().any(|(known, _)| *known == package) {
            continue;
        }
        let records = |source: &String| {
            ["counter", "gauge", "histogram"]
                .iter()
                .any(|it| !calls(source, it).is_empty())
        };
        assert!(!sources(&package).iter().any(records), "{package}");
    }
}
