use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use house_tests::House;

/// Proves that the role for people can read every view of schema `fleet` and nothing else: no private
/// table, no write, no table of its own, even after it lifts its own settings.
#[tokio::test]
async fn the_reader_reads_fleet_and_nothing_else() -> Result<()> {
    let house = House::start("").await?;
    let reader = house.reader().await?;
    let views: Vec<String> = sqlx::query_scalar(
        "SELECT table_name::text FROM information_schema.tables WHERE table_schema = 'fleet'",
    )
    .fetch_all(&reader)
    .await?;
    assert!(views.len() >= 5, "only these views: {views:?}");
    for view in &views {
        let select = sqlx::AssertSqlSafe(format!("SELECT * FROM fleet.{view} LIMIT 1"));
        sqlx::query(select).fetch_optional(&reader).await?;
    }

    let mut connection = reader.acquire().await?;
    for lift in ["SET default_transaction_read_only = off", "SET statement_timeout = 0"] {
        sqlx::query(lift).execute(&mut *connection).await?;
    }
    for forbidden in [
        "SELECT * FROM store.host",
        "SELECT credential_hash FROM store.host",
        "SELECT * FROM store.user_account",
        "UPDATE fleet.host_now SET host = 'x'",
        "DELETE FROM store.sample",
        "CREATE TEMP TABLE mine (x int)",
        "CREATE TABLE public.mine (x int)",
        "CREATE TABLE fleet.mine (x int)",
        "COPY (SELECT 1) TO PROGRAM 'cat'",
        "SELECT pg_read_file('/etc/passwd')",
        "SET ROLE truechimer",
        "SELECT lo_create(0)",
        "SELECT lo_from_bytea(0, 'x')",
        "SELECT pg_logical_emit_message(false, 'a', 'b')",
        "SELECT pg_advisory_lock(1)",
        "SELECT pg_try_advisory_xact_lock(1)",
        "SELECT pg_notify('truechimer', 'samples')",
    ] {
        let outcome = sqlx::query(forbidden).execute(&mut *connection).await;
        let code = outcome.as_ref().err().and_then(|e| e.as_database_error()?.code());
        // 42501: insufficient privilege; 55000: this view cannot be written to.
        assert!(
            matches!(code.as_deref(), Some("42501" | "55000")),
            "{forbidden} was not refused as it should be: {outcome:?}"
        );
    }
    Ok(())
}

/// Proves that whoever explores schema `fleet` finds every view, column and function explained.
#[tokio::test]
async fn every_object_of_fleet_is_commented() -> Result<()> {
    let house = House::start("").await?;
    let bare: Vec<String> = sqlx::query_scalar(
        "SELECT c.relname || coalesce('.' || a.attname, '')
         FROM pg_class c LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0
         WHERE c.relnamespace = 'fleet'::regnamespace AND c.relkind IN ('v', 'm', 'r')
           AND col_description(c.oid, a.attnum) IS NULL
         UNION ALL
         SELECT relname FROM pg_class
         WHERE relnamespace = 'fleet'::regnamespace AND relkind IN ('v', 'm', 'r')
           AND obj_description(oid, 'pg_class') IS NULL
         UNION ALL
         SELECT proname || '()' FROM pg_proc
         WHERE pronamespace = 'fleet'::regnamespace AND obj_description(oid, 'pg_proc') IS NULL",
    )
    .fetch_all(&house.owner().await?)
    .await?;
    assert!(bare.is_empty(), "without a comment: {bare:?}");
    Ok(())
}

/// Proves that the questions in the README are SQL that works.
#[tokio::test]
async fn the_questions_in_the_readme_can_be_asked() -> Result<()> {
    let house = House::start("").await?;
    // The hosts that it names.
    let named = "INSERT INTO store.host (host_uuid, name, credential_hash)
                 VALUES (gen_random_uuid(), 'ctl-1', 'a'), (gen_random_uuid(), 'ctl-2', 'b')";
    sqlx::query(named).execute(&house.owner().await?).await?;
    let reader = house.reader().await?;
    let readme = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md"))?;
    let (_, section) = readme.split_once("\n## SQL\n").context("no section on SQL")?;
    let (section, _) = section.split_once("\n## ").context("it has no end")?;
    let code: Vec<_> = section.lines().filter(|line| line.starts_with("    ")).collect();
    let code = code.join("\n");
    let questions: Vec<_> = code.split(';').filter(|text| !text.trim().is_empty()).collect();
    assert!(questions.len() >= 4, "only {questions:?}");
    for question in questions {
        let select = sqlx::AssertSqlSafe(question.to_owned());
        sqlx::query(select).fetch_all(&reader).await.with_context(|| question.to_owned())?;
    }
    Ok(())
}
