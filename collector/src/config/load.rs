use std::path::{Path, PathBuf};

use serde::Deserialize;
use thiserror::Error;
use toml::de::{DeTable, DeValue};

use super::{Config, DEFAULT};

/// Why there are no settings to start with.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration {}: {source}", path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The text is not a valid configuration.
    #[error("{place}, line {line}: {message}")]
    Invalid {
        /// The file, or "configuration".
        place: String,
        /// First line is 1.
        line: usize,
        /// What is wrong, with the key.
        message: String,
    },
}

impl ConfigError {
    pub(super) fn in_file(self, path: &Path) -> Self {
        match self {
            Self::Invalid { line, message, .. } => {
                Self::Invalid { place: path.display().to_string(), line, message }
            }
            other => other,
        }
    }
}

/// The defaults overridden by `text`.
pub(super) fn merged(text: &str) -> Result<Config, ConfigError> {
    // Only the user's text can be wrong (a test holds the default valid), so every place that an error
    // names is a place in it.
    let invalid = |error: toml::de::Error| describe(text, &error);
    let mut table = DeTable::parse(DEFAULT).map_err(invalid)?;
    let user = DeTable::parse(text).map_err(invalid)?;
    merge(table.get_mut(), user.into_inner());
    Config::deserialize(toml::de::Deserializer::from(table)).map_err(invalid)
}

fn merge<'a>(base: &mut DeTable<'a>, over: DeTable<'a>) {
    for (key, value) in over {
        if let (Some(below), DeValue::Table(_)) = (base.get_mut(&key), value.get_ref())
            && let DeValue::Table(below) = below.get_mut()
        {
            let DeValue::Table(above) = value.into_inner() else { continue };
            merge(below, above);
            continue;
        }
        // Removed first, so that the key too is the user's, with its place.
        base.remove(&key);
        base.insert(key, value);
    }
}

fn describe(text: &str, error: &toml::de::Error) -> ConfigError {
    let at = error.span().map_or(0, |span| span.start).min(text.len());
    let line = text.as_bytes()[..at].iter().filter(|b| **b == b'\n').count() + 1;
    let source = text.lines().nth(line - 1).unwrap_or_default().trim();
    let message = error.message().trim_end().replace('\n', ": ");
    let message = if source.is_empty() { message } else { format!("{message} (`{source}`)") };
    ConfigError::Invalid { place: "configuration".into(), line, message }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        merged(text).unwrap_err().to_string()
    }

    /// Proves that a file overrides single keys and leaves their neighbours at the default.
    #[test]
    fn one_key_leaves_its_neighbours() {
        let config = merged("[ingest]\nburst = 7\n").unwrap();
        assert_eq!(config.ingest.burst.get(), 7);
        assert_eq!(config.ingest.max_batch, Config::defaults().ingest.max_batch);
    }

    /// Proves that the printed effective file is itself a file that means the same.
    #[test]
    fn effective_file_is_a_file() {
        let config = merged("data-dir = '/x'\n[log]\nformat = 'json'").unwrap();
        assert_eq!(merged(&config.to_toml()).unwrap().to_toml(), config.to_toml());
    }

    /// Proves that a misspelt key is refused with its name and its line.
    #[test]
    fn unknown_key_is_named_with_its_line() {
        let text = error("[grpc]\n\nlisten = '127.0.0.1:1'\nlistne = 'x'\n");
        assert!(text.contains("line 4") && text.contains("listne"), "{text}");
        let text = error("# one\n[grcp]\nlisten = 'x'\n");
        assert!(text.contains("line 2") && text.contains("grcp"), "{text}");
    }

    /// Proves that a value of the wrong kind is refused with key and line, whatever its section.
    #[test]
    fn wrong_value_is_named_with_its_line() {
        for (text, line, word) in [
            ("[ingest]\nlinger = '50 parsecs'", "line 2", "linger"),
            ("\n\nevaluate-every = 3", "line 3", "evaluate-every"),
            ("[grpc]\nlisten = 'nowhere'", "line 2", "listen"),
            ("[ingest]\nburst = 0", "line 2", "burst"),
            ("grpc = 1", "line 1", "grpc"),
            ("[grpc]\nlisten = '127.0.0.1:1'\nlisten = '127.0.0.1:2'", "line 3", "listen"),
            ("[grpc\n", "line 1", "grpc"),
        ] {
            let message = error(text);
            assert!(message.contains(line) && message.contains(word), "{text:?}: {message}");
        }
    }
}
