//! `truechimer db upgrade`.

use std::path::Path;

use anyhow::ensure;

use crate::config::Config;
use crate::database::{self, Database};
use crate::postgres::upgrade;

/// Brings the private cluster to another major version.
///
/// # Errors
/// The database is an external one, in use, or cannot be upgraded: it is as it was then.
pub async fn run(config: &Config, from: Option<&Path>, to: Option<&Path>) -> anyhow::Result<()> {
    ensure!(
        database::external(config)?.is_none(),
        "[database] url names a server of your own: its administrator upgrades it"
    );
    let say = |words: &str| eprintln!("{words}");
    let done = upgrade::upgrade(&config.data_dir(), from, to, say).await?;
    eprintln!("the cluster is of Postgres {} now; renewing the planner's statistics", done.to);
    let mut config = config.clone();
    if to.is_some() {
        config.database.postgres_bin = to.map(Path::to_owned);
    }
    let database = Database::open(&config).await?;
    let analyzed = database.store.analyze().await;
    database.close().await;
    analyzed?;
    eprintln!(
        "done. The cluster of Postgres {} is kept in {}: remove it once you are content",
        done.from,
        done.old.display()
    );
    if let Some(to) = to {
        eprintln!("Set [database] postgres-bin = {to:?}, or put that folder on PATH, for serving");
    }
    Ok(())
}
