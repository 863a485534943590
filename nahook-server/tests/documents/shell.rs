//! Shell, as far as documents write it.

/// The commands of a script, each with its line, from 0.
pub(crate) fn commands(script: &str) -> Vec<(usize, Vec<String>)> {
    let mut commands = Vec::new();
    let mut command = Vec::new();
    let mut begun_at = 0;
    for (index, line) in script.lines().enumerate() {
        if command.is_empty() {
            begun_at = index;
        }
        let (line, goes_on) = match line.strip_suffix('\\') {
            Some(line) => (line, true),
            None => (line, false),
        };
        for word in words(line) {
            if let Word::End = word {
                commands.push((begun_at, std::mem::take(&mut command)));
            } else if let Word::Text(text) = word {
                command.push(text);
            }
        }
        if !goes_on {
            commands.push((begun_at, std::mem::take(&mut command)));
        }
    }
    commands.push((begun_at, command));
    commands.retain(|(_, command)| !command.is_empty());
    commands
}

enum Word {
    Text(String),
    /// A separator of commands.
    End,
}

fn words(line: &str) -> Vec<Word> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    for it in line.chars() {
        match (quote, it) {
            (Some(open), it) if open == it => quote = None,
            (None, '\'' | '"') => {
                quote = Some(it);
                word.get_or_insert_default();
            }
            (None, '#') if word.is_none() => break,
            (None, '|' | ';' | '&') => {
                words.extend(word.take().map(Word::Text));
                words.push(Word::End);
            }
            (None, it) if it.is_whitespace() => words.extend(word.take().map(Word::Text)),
            (_, it) => word.get_or_insert_default().push(it),
        }
    }
    words.extend(word.map(Word::Text));
    words
}

/// The command without what it sets in its environment.
pub(crate) fn without_environment(words: &[String]) -> &[String] {
    let is_set = |word: &String| {
        let name = word.split_once('=').map_or("", |(name, _)| name);
        !name.is_empty()
            && name
                .bytes()
                .all(|it| it.is_ascii_uppercase() || it.is_ascii_digit() || it == b'_')
    };
    let set = words.iter().take_while(|word| is_set(word)).count();
    &words[set..]
}

#[test]
fn commands_are_split_as_a_shell_does() {
    let script = "A=1 nahook serve \\\n  --queue 'a b' # why\ncurl x | nahook listen; b\n";
    let commands: Vec<_> = commands(script)
        .into_iter()
        .map(|(line, words)| (line, without_environment(&words).join("·")))
        .collect();
    let expected = [
        (0, "nahook·serve·--queue·a b"),
        (2, "curl·x"),
        (2, "nahook·listen"),
        (2, "b"),
    ];
    assert_eq!(
        commands,
        expected.map(|(line, text)| (line, text.to_owned()))
    );
}
