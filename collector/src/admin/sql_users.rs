//! `truechimer sql-user`.

use anyhow::bail;
use store::Store;
use store::people::NewSqlUser;

use super::{db, table};
use crate::config::Config;
use crate::output::say;
use crate::{database, scram, secret};

/// Makes a role that reads schema `fleet`; its password, on standard output, is shown this once.
///
/// # Errors
/// The name cannot be used, or the database does not answer or does not let us.
pub async fn add(store: &Store, config: &Config, name: &str, analyst: bool) -> anyhow::Result<()> {
    let password = secret::generate(secret::Kind::Password)?;
    let new = NewSqlUser {
        name,
        verifier: &scram::verifier(&password)?,
        analyst,
        connections: config.sql.connections.get(),
        time_limit: config.sql.time_limit,
    };
    store.add_sql_user(new).await?;
    say!("{password}");
    eprintln!("The password is above; it is not kept anywhere. To connect:");
    for url in urls(config, name)? {
        eprintln!("  psql '{url}'");
    }
    Ok(())
}

/// Ends the sessions of a SQL user and removes the role.
///
/// # Errors
/// There is none of that name, or the database does not answer.
pub async fn remove(store: &Store, name: &str) -> anyhow::Result<()> {
    if !store.remove_sql_user(name).await? {
        bail!("no SQL user {name:?}; `truechimer sql-user list` shows who there is");
    }
    eprintln!("{name}: sessions ended, role removed");
    Ok(())
}

/// Prints every SQL user.
///
/// # Errors
/// The database does not answer.
pub async fn list(store: &Store) -> anyhow::Result<()> {
    let row = |user: store::people::SqlUser| {
        let may = if user.analyst { "read fleet, load log lines" } else { "read fleet" };
        let sessions = format!("{} of {}", user.sessions, user.connections);
        [user.name, may.to_owned(), sessions]
    };
    let rows: Vec<_> = store.sql_users().await?.into_iter().map(row).collect();
    table::print(["NAME", "MAY", "SESSIONS"], &rows);
    Ok(())
}

fn urls(config: &Config, name: &str) -> anyhow::Result<Vec<String>> {
    if let Some(options) = database::external(config)? {
        let database = db::encoded(options.get_database().unwrap_or(options.get_username()));
        let (host, port) = (db::encoded(options.get_host()), options.get_port());
        return Ok(vec![format!("postgresql://{name}@{host}:{port}/{database}")]);
    }
    let mut urls = vec![db::by_socket(config, name)?];
    if let Some(at) = config.database.listen {
        urls.push(format!("postgresql://{name}@{at}/{}", crate::postgres::OWNER));
    }
    Ok(urls)
}
