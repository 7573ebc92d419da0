//! `truechimer user`.

use std::path::Path;

use anyhow::{Context, bail};
use store::Store;
use web::password;

use super::table;
use crate::output::say;
use crate::secret;

/// Shorter ones are guessed.
const SHORTEST_PASSWORD: usize = 10;

/// Adds a person.
///
/// # Errors
/// The name is taken, the password too short, or the database does not answer.
pub async fn add(store: &Store, name: &str, password_file: Option<&Path>) -> anyhow::Result<()> {
    if name.trim().is_empty() || name.chars().any(char::is_control) {
        bail!("a name is needed to sign in with");
    }
    let password = Password::take(password_file)?;
    store.add_user(name, &password::hash(&password.text)?).await?;
    password.show_once();
    Ok(())
}

/// Sets another password.
///
/// # Errors
/// Nobody has that name, the password is too short, or the database does not answer.
pub async fn passwd(store: &Store, name: &str, password_file: Option<&Path>) -> anyhow::Result<()> {
    let password = Password::take(password_file)?;
    if !store.set_password(name, &password::hash(&password.text)?).await? {
        bail!("nobody is called {name:?}; `truechimer user list` shows who there is");
    }
    password.show_once();
    Ok(())
}

/// Prints everybody who may sign in.
///
/// # Errors
/// The database does not answer.
pub async fn list(store: &Store) -> anyhow::Result<()> {
    let rows: Vec<_> = store
        .users()
        .await?
        .into_iter()
        .map(|user| [user.name, table::moment(Some(store::time::from_sql(user.created_at)))])
        .collect();
    table::print(["NAME", "ADDED"], &rows);
    Ok(())
}

struct Password {
    text: String,
    random: bool,
}

impl Password {
    fn take(file: Option<&Path>) -> anyhow::Result<Self> {
        let Some(path) = file else {
            return Ok(Self { text: secret::generate(secret::Kind::Password)?, random: true });
        };
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("cannot read the password file {}", path.display()))?;
        let text = text.lines().next().unwrap_or_default().to_owned();
        if text.chars().count() < SHORTEST_PASSWORD {
            bail!("the password needs at least {SHORTEST_PASSWORD} characters");
        }
        Ok(Self { text, random: false })
    }

    fn show_once(&self) {
        if self.random {
            say!("{}", self.text);
        }
    }
}
