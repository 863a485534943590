//! The guide's comparison of lines counts what it shows, and nothing takes more lines than with the other library.
#![cfg(test)]

/// Lines of a block that its reader writes: not those that only the compiler of the guide sees.
fn lines(block: &str) -> usize {
    let (_, code) = block.split_once('\n').unwrap();
    let written = code.lines().filter(|line| !line.starts_with("# "));
    written.filter(|line| !line.trim().is_empty()).count()
}

#[test]
fn no_task_takes_more_lines_than_with_the_other_library() {
    let guide = include_str!("../../docs/embed.md");
    let (_, section) = guide.split_once("## Beside webhooksmith\n").unwrap();
    let section = section.split("\n## ").next().unwrap();
    let mut parts = section.split("\n### ");
    let table = parts.next().unwrap();
    let mut tasks = 0;
    for part in parts {
        let (task, shown) = part.split_once('\n').unwrap();
        let blocks: Vec<_> = shown.split("```").skip(1).step_by(2).map(lines).collect();
        let [ours, theirs] = blocks.try_into().unwrap();
        assert!(ours <= theirs, "{task}: {ours} lines, not {theirs}");
        let row = format!("| {} | {ours} | {theirs} |", task.to_lowercase());
        let rows = table.to_lowercase();
        assert!(rows.contains(&row), "{row} is in the table");
        tasks += 1;
    }
    assert_eq!(tasks, 5);
}
