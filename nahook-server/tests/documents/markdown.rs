//! Markdown, as far as the checks have to read it.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// A document of the repository.
pub(crate) struct Document {
    /// Path from the repository's root.
    pub(crate) path: String,
    pub(crate) text: String,
}

/// A fenced block of code.
pub(crate) struct Block {
    pub(crate) language: String,
    /// The line of the fence, from 1.
    pub(crate) line: usize,
    pub(crate) text: String,
}

/// The repository's root.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Every document of the repository.
pub(crate) fn all() -> Vec<Document> {
    let root = root();
    files(&root, "md")
        .into_iter()
        .map(|path| Document {
            text: fs::read_to_string(&path).unwrap(),
            path: path.strip_prefix(&root).unwrap().display().to_string(),
        })
        .collect()
}

/// The files below `directory` whose names end so, without what builds leave behind.
pub(crate) fn files(directory: &Path, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() && name != "target" && !name.starts_with('.') {
            found.extend(files(&path, extension));
        } else if path.is_file() && path.extension().is_some_and(|it| it == extension) {
            found.push(path);
        }
    }
    found.sort();
    found
}

impl Document {
    /// The document's directory, from the repository's root.
    pub(crate) fn directory(&self) -> PathBuf {
        Path::new(&self.path).parent().unwrap().to_owned()
    }

    /// The fenced blocks of code.
    pub(crate) fn blocks(&self) -> Vec<Block> {
        self.split().1
    }

    /// The text without the blocks of code, whose lines are empty.
    pub(crate) fn prose(&self) -> String {
        self.split().0
    }

    fn split(&self) -> (String, Vec<Block>) {
        let (mut prose, mut blocks) = (String::new(), Vec::<Block>::new());
        let mut is_inside = false;
        for (index, line) in self.text.lines().enumerate() {
            if let Some(language) = line.trim_start().strip_prefix("```") {
                if !is_inside {
                    blocks.push(Block {
                        language: language.to_owned(),
                        line: index + 1,
                        text: String::new(),
                    });
                }
                is_inside = !is_inside;
            } else if is_inside {
                let block = blocks.last_mut().unwrap();
                block.text.push_str(line);
                block.text.push('\n');
            } else {
                prose.push_str(line);
            }
            prose.push('\n');
        }
        (prose, blocks)
    }

    /// The code within the prose, each with its line.
    pub(crate) fn spans(&self) -> Vec<(usize, String)> {
        self.without_spans().1
    }

    /// The targets of the links, each with its line.
    pub(crate) fn links(&self) -> Vec<(usize, String)> {
        let text = self.without_spans().0;
        let mut links = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let mut add = |target: &str| {
                let target = target.split_whitespace().next().unwrap_or_default();
                links.push((index + 1, target.trim_matches(['<', '>']).to_owned()));
            };
            if let Some((_, target)) = line
                .strip_prefix('[')
                .and_then(|definition| definition.split_once("]: "))
            {
                add(target);
            }
            for part in line.split("](").skip(1) {
                add(part.split(')').next().unwrap());
            }
        }
        links
    }

    /// The anchors of the headings, as the forge makes them.
    pub(crate) fn anchors(&self) -> BTreeSet<String> {
        let mut anchors = BTreeSet::new();
        for line in self.prose().lines().filter(|line| line.starts_with('#')) {
            let heading = line.trim_start_matches('#').trim();
            let anchor: String = without_targets(heading)
                .to_lowercase()
                .chars()
                .filter(|it| it.is_alphanumeric() || " -_".contains(*it))
                .map(|it| if it == ' ' { '-' } else { it })
                .collect();
            let mut number = 0;
            let mut unique = anchor.clone();
            while !anchors.insert(unique) {
                number += 1;
                unique = format!("{anchor}-{number}");
            }
        }
        anchors
    }

    /// The prose without code, and the code, each with its line.
    fn without_spans(&self) -> (String, Vec<(usize, String)>) {
        let prose = self.prose();
        let (mut rest, mut spans) = (prose.as_str(), Vec::new());
        let mut text = String::new();
        while let Some(start) = rest.find('`') {
            text.push_str(&rest[..start]);
            let ticks = rest[start..].chars().take_while(|it| *it == '`').count();
            let after = &rest[start + ticks..];
            // Code ends within its paragraph.
            let paragraph = after.split("\n\n").next().unwrap();
            let Some(end) = paragraph.find(&"`".repeat(ticks)) else {
                rest = after;
                continue;
            };
            let code = &after[..end];
            spans.push((text.matches('\n').count() + 1, code.replace('\n', " ")));
            text.extend(code.chars().filter(|it| *it == '\n'));
            rest = &after[end + ticks..];
        }
        text.push_str(rest);
        (text, spans)
    }
}

/// The text of a heading without the targets of its links.
fn without_targets(heading: &str) -> String {
    let mut parts = heading.split("](");
    let mut text = parts.next().unwrap().replace('[', "");
    for part in parts {
        text.push_str(part.split_once(')').map_or("", |(_, rest)| rest));
    }
    text
}
