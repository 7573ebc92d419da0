//! `truechimer host`.

use anyhow::bail;
use store::Store;

use super::table;
use crate::clock;

/// Prints every host.
///
/// # Errors
/// The database does not answer.
pub async fn list(store: &Store) -> anyhow::Result<()> {
    let rows: Vec<_> = store
        .list_hosts()
        .await?
        .into_iter()
        .map(|host| {
            let kind = if host.simulated { "simulated" } else { "" };
            [
                host.name,
                host.service,
                host.id.to_string(),
                kind.to_owned(),
                table::moment(Some(host.enrolled_at)),
                table::moment(host.received_at),
                table::moment(host.revoked_at),
            ]
        })
        .collect();
    let heading = ["NAME", "SERVICE", "UUID", "", "ENROLLED", "LAST REPORT", "REVOKED"];
    table::print(heading, &rows);
    Ok(())
}

/// Voids the credential of every host of that name or UUID.
///
/// # Errors
/// There is none with a credential, or the database does not answer.
pub async fn revoke(store: &Store, host: &str) -> anyhow::Result<()> {
    match store.revoke_host(host, clock::now()).await? {
        0 => bail!("no host {host:?} with a valid credential"),
        1 => eprintln!("{host}: credential revoked"),
        n => eprintln!("{host}: {n} hosts of this name, all credentials revoked"),
    }
    Ok(())
}
