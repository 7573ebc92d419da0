//! The file of symmetric keys, as chrony writes it.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use agent_core::ntp::{KeyAlgorithm, SymmetricKey};
use thiserror::Error;
use tracing::warn;

use crate::sources::Server;

/// Mode bits by which others than owner and group can read.
const OTHERS_READ: u32 = 0o004;

/// Symmetric keys by their number.
pub type Keys = BTreeMap<u32, SymmetricKey>;

/// What a file of keys holds.
#[derive(Debug, Default)]
pub struct KeyFile {
    /// The keys that can be used.
    pub keys: Keys,
    /// Numbers of those that cannot, with their type, if it is one that others know.
    unsupported: BTreeMap<u32, Option<&'static str>>,
}

/// Types that chrony takes and this agent does not. A word that is none of them is not repeated: it may
/// be a part of a secret.
const OTHER_TYPES: [&str; 8] =
    ["SHA384", "SHA512", "SHA3-224", "SHA3-256", "SHA3-384", "SHA3-512", "TIGER", "WHIRLPOOL"];

/// What one line holds.
enum Entry {
    Nothing,
    Key(SymmetricKey),
    Unsupported(u32, Option<&'static str>),
}

/// Why a file of keys cannot be used. Never says what a key is.
#[derive(Debug, Error)]
pub enum KeysError {
    /// It cannot be read.
    #[error("{0}: {1}")]
    Read(PathBuf, std::io::Error),
    /// A line is not `ID TYPE HEX:…` or `ID TYPE ASCII:…`.
    #[error("{file}, line {line}: {problem}")]
    Line {
        /// The file.
        file: PathBuf,
        /// Counted from 1.
        line: usize,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// A server's key is of a type that only other programs know.
    #[error("{server}: key {id} is of {algorithm}, which is not supported: use AES128")]
    Unsupported {
        /// The server.
        server: String,
        /// The number of its key.
        id: u32,
        /// Its type.
        algorithm: String,
    },
    /// A server's key is nowhere.
    #[error("{server}: there is no key {id} {place}")]
    Missing {
        /// The server.
        server: String,
        /// The number of its key.
        id: u32,
        /// Where it was looked for.
        place: String,
    },
}

/// The keys that `servers` need, from `file`.
pub fn for_servers(servers: &[Server], file: Option<&Path>) -> Result<Keys, KeysError> {
    let wanted = || servers.iter().filter_map(|server| Some((server, server.key?)));
    if wanted().next().is_none() {
        return Ok(Keys::new());
    }
    let KeyFile { keys, unsupported } = file.map_or_else(|| Ok(KeyFile::default()), load)?;
    for (server, id) in wanted() {
        let Some(key) = keys.get(&id) else {
            if let Some(algorithm) = unsupported.get(&id) {
                let server = server.name.to_string();
                let unknown = || "an unknown type".to_owned();
                let algorithm = algorithm.map_or_else(unknown, |word| format!("type {word}"));
                return Err(KeysError::Unsupported { server, id, algorithm });
            }
            let place = match file {
                Some(file) => format!("in {}", file.display()),
                None => "and no ntp.keys-file".to_owned(),
            };
            return Err(KeysError::Missing { server: server.name.to_string(), id, place });
        };
        if key.algorithm().is_weak() {
            let word = key.algorithm().word();
            warn!("{}: key {id} is {word}, which proves nothing; prefer AES128", server.name);
        }
    }
    Ok(keys)
}

/// Reads the file, and warns if more people can read it than should.
pub fn load(file: &Path) -> Result<KeyFile, KeysError> {
    let unreadable = |error| KeysError::Read(file.to_owned(), error);
    let text = fs::read_to_string(file).map_err(unreadable)?;
    let mode = fs::metadata(file).map_err(unreadable)?.mode();
    if mode & OTHERS_READ != 0 {
        let file = file.display();
        warn!("{file}: everybody on this host can read the keys in it (chmod o-r {file})");
    }
    parse(&text).map_err(|(line, problem)| KeysError::Line { file: file.to_owned(), line, problem })
}

/// The keys in a text, or the line that is none and why.
pub(crate) fn parse(text: &str) -> Result<KeyFile, (usize, &'static str)> {
    let KeyFile { mut keys, mut unsupported } = KeyFile::default();
    for (line, text) in (1..).zip(text.lines()) {
        match entry(text).map_err(|problem| (line, problem))? {
            Entry::Key(key) => {
                keys.insert(key.id(), key);
            }
            Entry::Unsupported(id, algorithm) => {
                unsupported.insert(id, algorithm);
            }
            Entry::Nothing => {}
        }
    }
    Ok(KeyFile { keys, unsupported })
}

/// `ID [TYPE] [HEX:|ASCII:]SECRET`, or a comment.
fn entry(line: &str) -> Result<Entry, &'static str> {
    let line = line.trim();
    if line.is_empty() || line.starts_with(['#', '!', ';', '%']) {
        return Ok(Entry::Nothing);
    }
    let words: Vec<_> = line.split_whitespace().collect();
    let (id, algorithm, secret) = match words.as_slice() {
        [id, secret] => (id, "MD5", secret),
        [id, algorithm, secret] => (id, *algorithm, secret),
        _ => return Err("a key is \"ID TYPE HEX:…\" or \"ID TYPE ASCII:…\""),
    };
    let id = id.parse().map_err(|_| "the key's number is not a number")?;
    let secret = match secret.split_once(':') {
        Some(("HEX", digits)) => unhex(digits).ok_or("not pairs of hexadecimal digits")?,
        Some(("ASCII", text)) => text.as_bytes().to_vec(),
        _ => secret.as_bytes().to_vec(),
    };
    let word = algorithm.to_ascii_uppercase();
    let Some(algorithm) = KeyAlgorithm::from_word(&word) else {
        let known = OTHER_TYPES.into_iter().find(|other| *other == word);
        return Ok(Entry::Unsupported(id, known));
    };
    SymmetricKey::new(id, algorithm, secret)
        .map(Entry::Key)
        .ok_or("the key has another length than its type needs, or the number 0")
}

fn unhex(digits: &str) -> Option<Vec<u8>> {
    let digit = |d: u8| char::from(d).to_digit(16);
    let pairs = digits.as_bytes().chunks(2);
    pairs
        .map(|pair| match *pair {
            [high, low] => u8::try_from(digit(high)? << 4 | digit(low)?).ok(),
            _ => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn read(test: &str, text: &str) -> Result<Keys, String> {
        let file =
            std::env::temp_dir().join(format!("truechimer-keys-{test}-{}", std::process::id()));
        fs::write(&file, text).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        let read = load(&file).map_err(|error| error.to_string());
        fs::remove_file(&file).unwrap();
        read.map(|read| read.keys)
    }

    /// Proves that keys are read as chrony writes them, that comments and types of other programs are
    /// passed over, and that two ways to write a secret mean the same key.
    #[test]
    fn key_files_of_chrony_are_read() {
        let keys = read(
            "good",
            "# a comment\n\n! another\n1 AES128 HEX:000102030405060708090a0b0c0d0e0F\n\
             2 sha256 ASCII:A\n3 SHA256 HEX:41\n4 secret\n5 SHA3-512 HEX:00\n",
        )
        .unwrap();
        assert_eq!(keys.keys().copied().collect::<Vec<_>>(), [1, 2, 3, 4]);
        assert_eq!(keys[&1].algorithm(), KeyAlgorithm::Aes128);
        let same = SymmetricKey::new(3, KeyAlgorithm::Sha256, b"A".to_vec()).unwrap();
        assert_eq!(keys[&3], same);
        assert_eq!(keys[&4].algorithm(), KeyAlgorithm::Md5);
    }

    /// Proves that a mistake is named with its line, and that no complaint repeats a secret.
    #[test]
    fn mistakes_are_named_without_the_secret() {
        for (line, problem) in [
            ("7", "a key is"),
            ("x SHA1 HEX:5ec2e7", "number"),
            ("7 SHA1 HEX:5ec2e", "hexadecimal"),
            ("7 SHA1 HEX:5ec2eg", "hexadecimal"),
            ("7 AES128 HEX:5ec2e7", "length"),
            ("0 SHA1 HEX:5ec2e7", "number 0"),
            ("7 SHA1 5ec2e7 5ec2e7", "a key is"),
        ] {
            let error = read("bad", &format!("# first\n{line}\n")).expect_err(line);
            assert!(error.contains("line 2") && error.contains(problem), "{line}: {error}");
            assert!(!error.contains("5ec2e"), "{error}");
        }
    }

    /// Proves that a server's key has to be there, and that no file is needed without keys.
    #[test]
    fn a_missing_key_is_named_with_its_server() {
        let plain = Server::one("a.example".parse().unwrap());
        assert!(for_servers(std::slice::from_ref(&plain), None).unwrap().is_empty());
        let keyed = Server { key: Some(7), ..plain };
        let error = for_servers(&[keyed], None).unwrap_err().to_string();
        assert_eq!(error, "a.example: there is no key 7 and no ntp.keys-file");
    }

    /// Proves that a key which is there, but of a type that is not supported, is not called missing; and
    /// that a word which may be a part of a secret is not repeated.
    #[test]
    fn a_key_of_an_unsupported_type_is_named_with_its_type() {
        let file =
            std::env::temp_dir().join(format!("truechimer-keys-type-{}", std::process::id()));
        fs::write(&file, "5 SHA512 HEX:00\n6 5ec2e7 5ec2e7\n").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        let error = |id| {
            let server = Server { key: Some(id), ..Server::one("a.example".parse().unwrap()) };
            for_servers(&[server], Some(&file)).unwrap_err().to_string()
        };
        let supported = "is not supported: use AES128";
        assert_eq!(error(5), format!("a.example: key 5 is of type SHA512, which {supported}"));
        assert_eq!(error(6), format!("a.example: key 6 is of an unknown type, which {supported}"));
        assert!(error(7).contains("there is no key 7 in "));
        fs::remove_file(file).unwrap();
    }
}
