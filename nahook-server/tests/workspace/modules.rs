//! Modules that are siblings in a crate use each other in one direction only.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::packages;

/// Names of modules from the root of the crate on, or of what a path goes through.
type Names = Vec<String>;

/// Uses of one sibling by another, each as it is written and the module that it is written in.
type Uses = BTreeMap<(String, String), BTreeSet<String>>;

#[derive(Default)]
struct Module {
    paths: Vec<Names>,
    /// Names that it passes on from elsewhere.
    exports: BTreeMap<String, Names>,
}

#[test]
fn siblings_use_each_other_in_one_direction() {
    let mut found = Vec::new();
    for package in packages() {
        let manifest = Path::new(package["manifest_path"].as_str().unwrap());
        let mut files = Vec::new();
        collect(&manifest.with_file_name("src"), &mut Vec::new(), &mut files);
        for circle in circles(files) {
            found.push(format!("{}: {circle}", package["name"]));
        }
    }
    assert!(found.is_empty(), "circles:\n{}", found.join("\n"));
}

#[test]
fn circle_through_an_export_is_found_and_a_parent_is_none() {
    let file = |path: &str, text: &str| (names(path), text.to_owned());
    let one_way = vec![
        file("", "mod a;\nmod b;\npub use self::a::{A, inner::C as D};"),
        file("a", "mod inner;\nuse self::inner::C;\npub struct A;"),
        file(
            "a::inner",
            "// use crate::b::B;\nuse super::A;\npub struct C;",
        ),
        file("b", "use crate::{\n    A,\n    D,\n};\npub struct B;"),
    ];
    assert_eq!(circles(one_way.clone()), Vec::<String>::new());
    for written in [
        "use crate::b::B;",
        "fn f() -> crate::b::B {}",
        "use super::super::{b as c};",
    ] {
        let mut circle = one_way.clone();
        circle[2].1 += &["\n", written].concat();
        let found = circles(circle);
        assert_eq!(found.len(), 1, "by {written}: {found:?}");
        let mut tested = one_way.clone();
        tested[2].1 += &["\n#[cfg(test)]\nmod tests {\n", written, "\n}"].concat();
        assert_eq!(circles(tested), Vec::<String>::new(), "in tests: {written}");
    }
}

/// Reads the files of a folder, but for tests, with the names of their modules.
fn collect(folder: &Path, within: &mut Names, files: &mut Vec<(Names, String)>) {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return;
    };
    for path in entries.map(|entry| entry.unwrap().path()) {
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        if name == "tests" || name == "bin" {
            continue;
        }
        let is_own = ["lib", "main", "mod"].contains(&&*name);
        if !is_own {
            within.push(name);
        }
        if path.is_dir() {
            collect(&path, within, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push((within.clone(), std::fs::read_to_string(&path).unwrap()));
        }
        if !is_own {
            within.pop();
        }
    }
}

/// The circles between siblings of a crate, in words.
fn circles(files: Vec<(Names, String)>) -> Vec<String> {
    let mut modules: BTreeMap<Names, Module> = BTreeMap::new();
    for (name, text) in files {
        read(modules.entry(name).or_default(), &text);
    }
    let mut uses: BTreeMap<&[String], Uses> = BTreeMap::new();
    for (from, module) in &modules {
        for path in &module.paths {
            let Some(to) = resolve(&modules, from, path, 0) else {
                continue;
            };
            let shared = from.iter().zip(&to).take_while(|(a, b)| a == b).count();
            if shared < from.len().min(to.len()) {
                let edge = (from[shared].clone(), to[shared].clone());
                let written = format!("{} in {}", path.join("::"), from.join("::"));
                let uses = uses.entry(&from[..shared]).or_default();
                uses.entry(edge).or_default().insert(written);
            }
        }
    }
    let in_circle = |uses: &Uses| -> Vec<String> {
        let of_circle = uses
            .iter()
            .filter(|((from, to), _)| is_reached(uses, to, from));
        let told = of_circle.map(|((from, to), by)| format!("{from} uses {to}: {by:?}"));
        told.collect()
    };
    uses.values()
        .map(in_circle)
        .filter(|circle| !circle.is_empty())
        .map(|circle| circle.join("\n    "))
        .collect()
}

fn is_reached(uses: &Uses, from: &str, goal: &str) -> bool {
    let (mut seen, mut left) = (BTreeSet::new(), vec![from]);
    while let Some(at) = left.pop() {
        if at == goal {
            return true;
        }
        if seen.insert(at) {
            left.extend(
                uses.keys()
                    .filter(|(from, _)| from == at)
                    .map(|(_, to)| &**to),
            );
        }
    }
    false
}

/// The module that has what a path in `from` names, past the modules that only pass it on.
fn resolve(
    modules: &BTreeMap<Names, Module>,
    from: &[String],
    path: &[String],
    depth: usize,
) -> Option<Names> {
    let mut at = from.to_vec();
    match path.first()?.as_str() {
        "crate" => at.clear(),
        "self" | "super" => {}
        child if modules.contains_key(&[from, &[child.to_owned()]].concat()) => {}
        _ => return None,
    }
    let is_start = |name: &&String| ["crate", "self", "super"].contains(&name.as_str());
    let starts = path.iter().take_while(is_start).count();
    let ups = path[..starts]
        .iter()
        .filter(|name| *name == "super")
        .count();
    at.truncate(at.len().saturating_sub(ups));
    for (n, name) in path.iter().enumerate().skip(starts) {
        at.push(name.clone());
        if modules.contains_key(&at) {
            continue;
        }
        at.pop();
        let exported = modules.get(&at)?.exports.get(name).filter(|_| depth < 20);
        return match exported {
            Some(of) => resolve(modules, &at, &[of, &path[n + 1..]].concat(), depth + 1),
            None => Some(at),
        };
    }
    Some(at)
}

/// Notes the paths that code as rustfmt writes it has outside of comments and tests.
fn read(module: &mut Module, text: &str) {
    let mut lines = text.lines().map(|line| line.split("//").next().unwrap());
    while let Some(line) = lines.next() {
        if line.trim() == "#[cfg(test)]" {
            let item = lines.next().unwrap_or_default();
            let indent = &item[..item.len() - item.trim_start().len()];
            if item.ends_with('{') {
                let _ = lines.find(|line| *line == format!("{indent}}}"));
            }
            continue;
        }
        let statement = line.trim_start().strip_prefix("pub").map_or(line, |rest| {
            let rest = rest
                .strip_prefix('(')
                .map_or(rest, |rest| rest.split_once(')').unwrap().1);
            if rest.trim_start().starts_with("use ") {
                rest
            } else {
                line
            }
        });
        if let Some(tree) = statement.trim_start().strip_prefix("use ") {
            let mut tree = tree.to_owned();
            while !tree.contains(';') {
                tree.push_str(lines.next().unwrap());
            }
            let is_export = statement.len() < line.len();
            for (path, name) in expand(&[], tree.trim_end().trim_end_matches(';')) {
                if is_export {
                    module.exports.insert(name, path.clone());
                }
                module.paths.push(path);
            }
            continue;
        }
        for start in ["crate::", "super::", "self::"] {
            for (at, _) in line.match_indices(start) {
                let is_begun =
                    line[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':');
                let is_of = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
                if !is_begun {
                    let end = line[at..]
                        .find(|c| !is_of(c))
                        .map_or(line.len(), |len| at + len);
                    module.paths.push(names(&line[at..end]));
                }
            }
        }
    }
}

/// The paths of a tree of imports, with the names that they get.
fn expand(within: &[String], tree: &str) -> Vec<(Names, String)> {
    let (mut paths, mut depth, mut start) = (Vec::new(), 0, 0);
    let ends = tree.char_indices().chain([(tree.len(), ',')]);
    for (at, c) in ends {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                let part = tree[start..at].trim();
                start = at + 1;
                if let Some((head, inner)) = part.split_once('{') {
                    let head = [within, &names(head)].concat();
                    paths.extend(expand(&head, inner.strip_suffix('}').unwrap()));
                } else if !part.is_empty() {
                    let (path, alias) = part.split_once(" as ").unwrap_or((part, ""));
                    let path = [within, &names(path)].concat();
                    let name = if alias.is_empty() {
                        path.last().unwrap()
                    } else {
                        alias
                    };
                    let name = name.to_owned();
                    paths.push((path, name));
                }
            }
            _ => {}
        }
    }
    paths
}

fn names(path: &str) -> Names {
    let names = path
        .split("::")
        .map(str::trim)
        .filter(|name| !name.is_empty());
    names.map(str::to_owned).collect()
}
