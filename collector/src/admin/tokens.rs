//! `truechimer token`.

use anyhow::bail;
use store::Store;
use timebase::Span;

use super::table;
use crate::output::say;
use crate::{clock, secret};

/// Makes a join token and prints it, alone, on standard output.
///
/// # Errors
/// The database does not answer.
pub async fn create(
    store: &Store,
    expires: Option<Span>,
    uses: Option<i32>,
    label: &str,
) -> anyhow::Result<()> {
    let token = secret::generate(secret::Kind::JoinToken)?;
    let expires_at = expires.map(|after| clock::now() + after);
    store.add_token(&secret::hash(&token), label, expires_at, uses).await?;
    say!("{token}");
    Ok(())
}

/// Prints every token, without the token.
///
/// # Errors
/// The database does not answer.
pub async fn list(store: &Store) -> anyhow::Result<()> {
    let rows: Vec<_> = store
        .list_tokens()
        .await?
        .into_iter()
        .map(|token| {
            [
                token.id.to_string(),
                token.label,
                table::moment(Some(token.created_at)),
                token.expires_at.map_or_else(|| "never".into(), |at| table::moment(Some(at))),
                token.uses_left.map_or_else(|| "unlimited".into(), |uses| uses.to_string()),
                table::moment(token.revoked_at),
            ]
        })
        .collect();
    table::print(["TOKEN", "LABEL", "CREATED", "EXPIRES", "USES LEFT", "REVOKED"], &rows);
    Ok(())
}

/// Voids a token, named by its number or by itself.
///
/// # Errors
/// There is no such valid token, or the database does not answer.
pub async fn revoke(store: &Store, token: &str) -> anyhow::Result<()> {
    let id = token.parse().ok();
    if store.revoke_token(id, &secret::hash(token), clock::now()).await? {
        eprintln!("token revoked; hosts that joined with it stay");
        return Ok(());
    }
    bail!("no such valid token")
}
