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
    let now = store::time::to_jiff(clock::now());
    eprintln!("noted: it is {now} by this machine's clock");
    Ok(())
}
