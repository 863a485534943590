//! Every clause is run: none is written and then left out of its suite's macro.

use std::fs;
use std::path::{Path, PathBuf};

#[test]
fn every_clause_is_in_its_macro() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let macros = fs::read_to_string(source.join("conformance.rs")).unwrap();
    let mut clauses = 0;
    for file in files_below(&source.join("suite")) {
        for line in fs::read_to_string(&file).unwrap().lines() {
            let name = line
                .strip_prefix("pub async fn ")
                .and_then(|rest| rest.split('<').next());
            if let Some(name) = name {
                clauses += 1;
                assert!(
                    macros.lines().any(|line| line.trim() == format!("{name},")),
                    "{name} of {} is in no macro",
                    file.display()
                );
            }
        }
    }
    assert!(clauses > 90, "the clauses were found: {clauses}");
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(files_below(&path));
        } else {
            files.push(path);
        }
    }
    files
}
