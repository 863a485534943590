//! The page of the manifest is what its types say.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;

use nahook_control::rules::{ENVIRONMENTS_MAX, ROWS, Rule};
use nahook_control::{
    ApiKeySpec, ApplicationSpec, EndpointSpec, EnvironmentSpec, EventTypeSpec, ManagementTokenSpec,
    Manifest, PlanSpec, RateSpec, WorkspaceSpec,
};
use serde::de::DeserializeOwned;

use crate::markdown::root;
use crate::pages::{check_page, row};
use crate::source::documentation;

struct Table {
    meaning: String,
    fields: Vec<Field>,
}

struct Field {
    name: String,
    kind: String,
    is_needed: bool,
    meaning: String,
}

fn source() -> String {
    fs::read_to_string(root().join("nahook-control/src/manifest.rs")).unwrap()
}

/// The structs of the manifest by their names, read off the source.
fn tables(source: &str) -> BTreeMap<String, Table> {
    let lines: Vec<_> = source.lines().collect();
    let mut tables = BTreeMap::new();
    let mut inside: Option<(String, Table)> = None;
    for (index, line) in lines.iter().enumerate() {
        if let Some(name) = line.strip_prefix("pub struct ") {
            let meaning = documentation(&lines, index);
            let name = name.trim_end_matches(" {").to_owned();
            inside = Some((
                name,
                Table {
                    meaning,
                    fields: Vec::new(),
                },
            ));
        } else if *line == "}" {
            tables.extend(inside.take());
        } else if let (Some((_, table)), Some(field)) = (&mut inside, line.strip_prefix("    pub "))
        {
            let (name, kind) = field.trim_end_matches(',').split_once(": ").unwrap();
            let above: Vec<_> = lines[..index]
                .iter()
                .rev()
                .take_while(|it| it.contains("#[") || it.contains("///"))
                .collect();
            let renamed = above
                .iter()
                .find_map(|it| it.split("rename = \"").nth(1)?.split('"').next());
            let has_default = above.iter().any(|it| it.contains("serde(default"));
            table.fields.push(Field {
                name: renamed.unwrap_or(name).to_owned(),
                kind: kind.to_owned(),
                is_needed: !has_default && !kind.starts_with("Option<"),
                meaning: documentation(&lines, index),
            });
        }
    }
    tables
}

/// Returns the TOML name of a field's type, and the table that it is, if it is one.
fn kind(rust: &str) -> (String, Option<&str>) {
    if let Some(inner) = rust
        .strip_prefix("Option<")
        .and_then(|it| it.strip_suffix('>'))
    {
        return kind(inner);
    }
    if let Some(inner) = rust
        .strip_prefix("Vec<")
        .and_then(|it| it.strip_suffix('>'))
    {
        let (of, table) = kind(inner);
        return (
            format!(
                "list of {}",
                of.replace("table", "tables")
                    .replace("name", "names")
                    .replace("pattern", "patterns")
            ),
            table,
        );
    }
    let plain = match rust {
        "String" => "text",
        "usize" | "u32" => "number",
        "NonZeroU32" => "number, 1 or more",
        "bool" => "true or false",
        "EventTypeName" => "event type name",
        "EventTypeSelector" => "event type name or pattern",
        "Metadata" => "table of texts",
        "serde_json::Map<String, serde_json::Value>" => "table",
        "EndpointKind" => "`\"webhook\"` or `\"slack\"`",
        id if id.ends_with("Id") => "id",
        table if table.ends_with("Spec") => return ("table".to_owned(), Some(table)),
        other => panic!("say here what {other} is called in a manifest"),
    };
    (plain.to_owned(), None)
}

/// Each table with the places where it stands, in the order of the fields.
fn places(tables: &BTreeMap<String, Table>) -> Vec<(String, Vec<String>)> {
    fn visit(
        tables: &BTreeMap<String, Table>,
        name: &str,
        at: &str,
        found: &mut Vec<(String, Vec<String>)>,
    ) {
        match found.iter_mut().find(|(known, _)| known == name) {
            Some((_, places)) => places.push(at.to_owned()),
            None => found.push((name.to_owned(), vec![at.to_owned()])),
        }
        for field in &tables[name].fields {
            if let Some(inner) = kind(&field.kind).1 {
                let below = format!("{at}.{}", field.name);
                visit(tables, inner, below.trim_start_matches('.'), found);
            }
        }
    }
    let mut found = Vec::new();
    visit(tables, "Manifest", "", &mut found);
    found
}

fn page() -> String {
    let source = source();
    let tables = tables(&source);
    let introduction: Vec<_> = source
        .lines()
        .map_while(|line| line.strip_prefix("//!"))
        .map(str::trim)
        .skip(2)
        .collect();
    let mut page = format!(
        "What `nahook apply` takes, as TOML or JSON. [The example](../../nahook-server/examples/manifest.toml) shows every field once. A field \
         that is not named here is refused.\n\n{}\n",
        introduction.join("\n").trim()
    );
    for (name, at) in places(&tables) {
        let table = &tables[&name];
        let at: Vec<_> = at
            .iter()
            .map(|at| {
                if at.is_empty() {
                    "The file".to_owned()
                } else {
                    format!("`{at}`")
                }
            })
            .collect();
        let _ = write!(page, "\n## {}\n\n{}\n\n", at.join(", "), table.meaning);
        row(&mut page, &["field", "type", "needed", "meaning"]);
        row(&mut page, &["---"; 4]);
        for field in &table.fields {
            let needed = if field.is_needed { "yes" } else { "–" };
            row(
                &mut page,
                &[
                    &format!("`{}`", field.name),
                    &kind(&field.kind).0,
                    needed,
                    &field.meaning,
                ],
            );
        }
    }
    let _ = write!(
        page,
        "\n## Rules\n\nThey hold for the Management API, too. A workspace has at most {ENVIRONMENTS_MAX} environments.\n\n"
    );
    row(&mut page, &["field", "rule"]);
    row(&mut page, &["---"; 2]);
    for declared in ROWS.iter().filter(|it| !it.section.is_empty()) {
        for field in declared.fields {
            if !matches!(
                field.rule,
                Rule::Free(_) | Rule::Reference | Rule::References
            ) {
                let name = format!("`{}.{}`", declared.section, field.name);
                row(&mut page, &[&name, &field.rule.to_string()]);
            }
        }
    }
    page
}

#[test]
fn page_of_the_manifest_is_what_its_types_say() {
    check_page("manifest.md", "Manifest", &page());
}

/// The fields that a type takes, by what it says of one that it does not take.
fn taken<T: DeserializeOwned>() -> BTreeSet<String> {
    let refused = serde_json::from_str::<T>(r#"{"no such field": 1}"#)
        .err()
        .unwrap()
        .to_string();
    let (_, expected) = refused.split_once("expected ").unwrap();
    expected
        .split('`')
        .skip(1)
        .step_by(2)
        .map(str::to_owned)
        .collect()
}

#[test]
fn fields_of_the_page_are_those_that_a_manifest_takes() {
    let taken = [
        ("Manifest", taken::<Manifest>()),
        ("WorkspaceSpec", taken::<WorkspaceSpec>()),
        ("PlanSpec", taken::<PlanSpec>()),
        ("RateSpec", taken::<RateSpec>()),
        ("EnvironmentSpec", taken::<EnvironmentSpec>()),
        ("EventTypeSpec", taken::<EventTypeSpec>()),
        ("ApplicationSpec", taken::<ApplicationSpec>()),
        ("EndpointSpec", taken::<EndpointSpec>()),
        ("ApiKeySpec", taken::<ApiKeySpec>()),
        ("ManagementTokenSpec", taken::<ManagementTokenSpec>()),
    ];
    let tables = tables(&source());
    assert_eq!(places(&tables).len(), taken.len());
    for (name, taken) in taken {
        let named: BTreeSet<_> = tables[name]
            .fields
            .iter()
            .map(|it| it.name.clone())
            .collect();
        assert_eq!(named, taken, "{name}");
    }
}

#[test]
fn example_shows_every_field() {
    let example = fs::read_to_string(root().join("nahook-server/examples/manifest.toml")).unwrap();
    for (name, table) in tables(&source()) {
        for field in table.fields {
            let shown = [format!("{} = ", field.name), format!("{}]", field.name)];
            let is_shown = shown.iter().any(|it| example.contains(it));
            assert!(
                is_shown,
                "the example does not show {} of {name}",
                field.name
            );
        }
    }
}
