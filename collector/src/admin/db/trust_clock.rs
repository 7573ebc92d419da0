//! `truechimer db trust-clock`.

use anyhow::bail;
use store::Store;

use crate::clock;

/// Takes this machine's clock for right: so much time has passed, and what is old by it may be dropped.
///
/// # Errors
/// The database does not answer, or its own clock says otherwise.
pub async fn run(store: &Store) -> anyhow::Result<()> {
    if let Some(doubt) = store.trust_clock(clock::now).await? {
        bail!("{doubt}. Nothing was changed");
    }
    eprintln!("it is noted that it is {} UTC by this machine's clock", store::time::to_jiff(clock::now()));
    Ok(())
}
