//! What is asked of the database, by psql.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

/// Most rows for \copy.
const MOST_ROWS: u32 = 5_000_000;

/// A database of the collector.
#[derive(Debug)]
pub(crate) struct Database {
    psql: PathBuf,
    url: String,
}

/// What the samples take up.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bytes {
    pub(crate) heap: u64,
    pub(crate) index: u64,
}

impl Database {
    pub(crate) fn new(psql: &Path, url: String) -> Self {
        Self { psql: psql.to_owned(), url }
    }

    /// Enrols hosts without asking the collector, with credentials like those it gives; they are written to
    /// a file as the light fleet keeps it.
    pub(crate) fn enrol(&self, hosts: u32, file: &Path) -> Result<()> {
        self.run(&format!(
            "CREATE TEMP TABLE light AS
             SELECT number, gen_random_uuid() AS id, 'tch_' || rtrim(translate(encode(decode(replace(
                    gen_random_uuid()::text || gen_random_uuid()::text, '-', ''), 'hex'), 'base64'),
                    E'+/\\n', '-_'), '=') AS credential
             FROM generate_series(0, {hosts} - 1) AS number;
             INSERT INTO store.host (host_uuid, name, simulated, credential_hash)
             SELECT id, 'light-' || number, true, sha256(convert_to(credential, 'UTF8'))
             FROM light ORDER BY number;
             \\copy (SELECT number || ' ' || id || ' ' || credential FROM light) TO {}\n\
             ANALYZE store.host;",
            quoted(file)
        ))?;
        Ok(())
    }

    /// Writes the samples in the order they came, as binary COPY.
    pub(crate) fn export_samples(&self, file: &Path) -> Result<()> {
        let columns = self.sample_columns()?;
        let file = quoted(file);
        self.run(&format!(
            "\\copy (SELECT {columns} FROM store.sample ORDER BY ref_time LIMIT {MOST_ROWS}) \
             TO {file} (FORMAT binary)\n"
        ))?;
        Ok(())
    }

    /// Takes them in.
    pub(crate) fn import_samples(&self, file: &Path) -> Result<()> {
        let columns = self.sample_columns()?;
        let file = quoted(file);
        self.run(&format!("\\copy store.sample ({columns}) FROM {file} (FORMAT binary)\n"))?;
        Ok(())
    }

    fn sample_columns(&self) -> Result<String> {
        self.run(
            "SELECT string_agg(quote_ident(column_name), ', ' ORDER BY ordinal_position)
             FROM information_schema.columns WHERE (table_schema, table_name) = ('store', 'sample');",
        )
    }

    pub(crate) fn sample_count(&self) -> Result<u64> {
        self.number("SELECT count(*) FROM store.sample;")
    }

    pub(crate) fn sample_bytes(&self) -> Result<Bytes> {
        let of_partitions = |function: &str| {
            self.number(&format!(
                "SELECT sum({function}(relid))::int8 FROM pg_partition_tree('store.sample')
                 WHERE isleaf;"
            ))
        };
        Ok(Bytes {
            heap: of_partitions("pg_relation_size")?,
            index: of_partitions("pg_indexes_size")?,
        })
    }

    /// Bytes of write-ahead log since the cluster was made.
    pub(crate) fn wal_position(&self) -> Result<u64> {
        self.number("SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::int8;")
    }

    /// Process id of the server.
    pub(crate) fn postmaster(&self) -> Result<u32> {
        let pid = self
            .number("SELECT (regexp_split_to_array(pg_read_file('postmaster.pid'), '\\n'))[1];")?;
        Ok(u32::try_from(pid)?)
    }

    fn number(&self, sql: &str) -> Result<u64> {
        let text = self.run(sql)?;
        text.parse().with_context(|| format!("{sql}: {text:?} is not a number"))
    }

    /// What the statements print, without decoration.
    fn run(&self, script: &str) -> Result<String> {
        let mut child = Command::new(&self.psql)
            .args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-f", "-", &self.url])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| self.psql.display().to_string())?;
        child.stdin.take().context("psql's input")?.write_all(script.as_bytes())?;
        let output = child.wait_with_output()?;
        ensure!(
            output.status.success(),
            "psql: {}\n{script}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
        Ok(String::from_utf8(output.stdout)?.trim().to_owned())
    }
}

/// As \copy reads a file's name.
fn quoted(file: &Path) -> String {
    format!("'{}'", file.display().to_string().replace('\'', "''"))
}
