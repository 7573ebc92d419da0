//! As much of SQL as it takes to look over migrations: statements, lists in parentheses, names.

/// One statement, in small letters, without comments, its words one blank apart.
#[derive(Debug)]
pub(crate) struct Statement {
    pub(crate) text: String,
    /// Of the body of a `DO` block.
    pub(crate) within_do: bool,
}

/// The statements of a file; those of `DO` blocks as well, roughly.
pub(crate) fn statements(file: &str) -> Vec<Statement> {
    let mut found = Vec::new();
    for text in split(&without_comments(file)) {
        let body = text.strip_prefix("do $$").and_then(|rest| rest.rsplit_once("$$"));
        match body {
            Some((body, _)) => found.extend(split(body).into_iter().map(|text| {
                let text = text.trim_start_matches("begin ").to_owned();
                Statement { text, within_do: true }
            })),
            None => found.push(Statement { text, within_do: false }),
        }
    }
    found
}

fn without_comments(file: &str) -> String {
    let code = |line: &str| {
        // Two dashes within a text, of which there is an even number of quotes before a comment.
        let at = line
            .match_indices("--")
            .find(|(at, _)| line[..*at].matches('\'').count().is_multiple_of(2));
        at.map_or(line, |(at, _)| &line[..at]).to_owned()
    };
    file.lines().map(code).collect::<Vec<_>>().join("\n")
}

/// At semicolons that are in no text and no body; what is in quotes becomes empty, but for a single name.
fn split(code: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut text = String::new();
    let mut in_body = false;
    let mut rest = code;
    while let Some(c) = rest.chars().next() {
        let mut taken = c.len_utf8();
        if rest.starts_with("$$") {
            in_body = !in_body;
            text.push_str("$$ ");
            taken = 2;
        } else if c == '\'' {
            let end = rest[1..].find('\'').map_or(rest.len(), |at| at + 2);
            let quoted = &rest[..end];
            let is_name =
                quoted.trim_matches('\'').chars().all(|c| c.is_alphanumeric() || c == '_');
            text.push_str(if is_name { quoted } else { "''" });
            taken = end;
        } else if c == ';' && !in_body {
            found.push(std::mem::take(&mut text));
        } else {
            text.push(c);
        }
        rest = &rest[taken..];
    }
    found.push(text);
    let tidy = |text: String| text.to_lowercase().split_whitespace().collect::<Vec<_>>().join(" ");
    found.into_iter().map(tidy).filter(|text| !text.is_empty()).collect()
}

/// What the first parentheses list.
pub(crate) fn items(statement: &str) -> Vec<String> {
    let Some((_, rest)) = statement.split_once('(') else { return Vec::new() };
    let mut found = vec![String::new()];
    let mut depth = 0;
    for c in rest.chars() {
        match c {
            '(' => depth += 1,
            ')' if depth == 0 => break,
            ')' => depth -= 1,
            ',' if depth == 0 => {
                found.push(String::new());
                continue;
            }
            _ => {}
        }
        found.last_mut().unwrap().push(c);
    }
    found.iter().map(|item| item.trim().to_owned()).collect()
}

/// The names that come after a word.
pub(crate) fn names_after(statement: &str, word: &str) -> Vec<String> {
    let words: Vec<&str> =
        statement.split([' ', '(', ')', ',']).filter(|w| !w.is_empty()).collect();
    words
        .windows(2)
        .filter(|pair| pair[0] == word && pair[1].contains('.'))
        .map(|pair| pair[1].to_owned())
        .collect()
}

/// A function's name, and what is between its first parenthesis and its body.
pub(crate) fn signature(statement: &str) -> (&str, &str) {
    let (name, rest) = statement.split_once('(').unwrap_or((statement, ""));
    let head = rest.split(" as $$").next().unwrap_or(rest);
    (name.rsplit(' ').next().unwrap_or(name), head)
}
