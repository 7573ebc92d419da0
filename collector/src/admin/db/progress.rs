use std::io::{IsTerminal, Write};
use std::process::Output;
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::process::Command;
use tokio::time::Instant;

/// On a terminal one line is rewritten so often; elsewhere a line is printed every tenth time.
const EVERY: Duration = Duration::from_secs(1);
const QUIET: u64 = 10;

/// Runs a program and says on standard error, by its process id, how far it is.
pub(super) async fn run(
    mut command: Command,
    program: &str,
    so_far: impl Fn(u32) -> String,
) -> anyhow::Result<()> {
    let child = command.spawn().with_context(|| format!("cannot run {program}"))?;
    let pid = child.id().unwrap_or_default();
    let output = watch(program, child.wait_with_output(), || so_far(pid)).await?;
    succeeded(program, &output)
}

/// Refuses what a program that failed has left, in its own words and with advice.
pub(super) fn succeeded(program: &str, output: &Output) -> anyhow::Result<()> {
    if output.status.success() {
        return Ok(());
    }
    let words = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    bail!("{program} failed: {words}{}", advice(&words))
}

/// Waits for something and says on standard error how far it is.
pub(super) async fn watch<T>(
    what: &str,
    work: impl Future<Output = T>,
    so_far: impl Fn() -> String,
) -> T {
    let started = Instant::now();
    tokio::pin!(work);
    let terminal = std::io::stderr().is_terminal();
    let mut said = 0;
    let done = loop {
        match tokio::time::timeout(EVERY, &mut work).await {
            Ok(done) => break done,
            Err(_) => {
                said += 1;
                let line = format!("{what}: {}, {} s", so_far(), started.elapsed().as_secs());
                if terminal {
                    eprint!("\r{line:<70}");
                    let _ = std::io::stderr().flush();
                } else if said % QUIET == 0 {
                    eprintln!("{line}");
                }
            }
        }
    };
    if terminal && said > 0 {
        eprintln!();
    }
    done
}

/// What to do about the failures that operators meet.
fn advice(words: &str) -> &'static str {
    if words.contains("server version mismatch") {
        "\nInstall the client programs of the server's version (apt install postgresql-client-N), or name their folder in `[database] postgres-bin`"
    } else if words.contains("unsupported version") {
        "\nThe backup was made by a newer pg_dump: install the client programs of that version"
    } else if words.contains("role") && words.contains("does not exist") {
        "\nThe backup grants something to a role of its old server: create that role here first (CREATE ROLE …)"
    } else {
        ""
    }
}
