//! `truechimer db vacuum`.

use risk::phrase::size;
use store::Store;
use tokio::time::Instant;

/// VACUUM of every table, one after another, beside the collector, then ANALYZE.
///
/// # Errors
/// The database does not answer.
pub async fn run(store: &Store) -> anyhow::Result<()> {
    let tables = store.tables_to_vacuum().await?;
    let started = Instant::now();
    let mut given_back = 0;
    for (n, table) in tables.iter().enumerate() {
        let at = Instant::now();
        let freed = match store.vacuum(table).await {
            Ok(freed) => freed,
            // A partition that retention dropped since the list was made.
            Err(error) if is_gone(&error) => continue,
            Err(error) => return Err(error.into()),
        };
        given_back += freed.max(0);
        eprintln!(
            "{}/{} {table}: {:.1} s{}",
            n + 1,
            tables.len(),
            at.elapsed().as_secs_f64(),
            if freed > 0 {
                format!(", {} given back", size(freed.unsigned_abs()))
            } else {
                String::new()
            }
        );
    }
    let at = Instant::now();
    store.analyze().await?;
    eprintln!("statistics of the planner: {:.1} s", at.elapsed().as_secs_f64());
    eprintln!(
        "{} tables in {:.1} s, {} given back to the file system; what else was freed stays in the tables \
         for rows to come",
        tables.len(),
        started.elapsed().as_secs_f64(),
        size(given_back.unsigned_abs())
    );
    Ok(())
}

fn is_gone(error: &sqlx::Error) -> bool {
    error
        .as_database_error()
        .and_then(sqlx::error::DatabaseError::code)
        .is_some_and(|code| code == "42P01")
}
