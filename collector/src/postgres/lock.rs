use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::time::Duration;

use nix::fcntl::{Flock, FlockArg};
use tokio::time::Instant;

use super::PostgresError;
use super::layout::Layout;

/// An administration command may hold the lock for the moment it takes; a server holds it for good.
const PATIENCE: Duration = Duration::from_secs(5);

/// Takes the lock of the cluster for this process.
pub(super) async fn take(layout: &Layout) -> Result<Flock<File>, PostgresError> {
    let patience = Instant::now() + PATIENCE;
    loop {
        match attempt(layout)? {
            Ok(lock) => return Ok(lock),
            Err(pid) if Instant::now() >= patience => {
                return Err(PostgresError::InUse { folder: layout.folder.clone(), pid });
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}

/// Whether another process holds the lock.
pub(super) fn is_taken(layout: &Layout) -> Result<bool, PostgresError> {
    let file = match OpenOptions::new().read(true).open(&layout.lock) {
        Ok(file) => file,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(false),
        Err(e) => return Err(PostgresError::file("cannot open", &layout.lock)(e)),
    };
    Ok(Flock::lock(file, FlockArg::LockSharedNonblock).is_err())
}

/// The lock, or the process that has it.
fn attempt(layout: &Layout) -> Result<Result<Flock<File>, Option<i32>>, PostgresError> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&layout.lock)
        .map_err(PostgresError::file("cannot open", &layout.lock))?;
    match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(mut lock) => {
            write_pid(&mut lock).map_err(PostgresError::file("cannot write", &layout.lock))?;
            Ok(Ok(lock))
        }
        Err((mut file, _)) => {
            let mut text = String::new();
            // The pid is a courtesy in a message: no text, no pid.
            let _ = file.read_to_string(&mut text);
            Ok(Err(text.trim().parse().ok()))
        }
    }
}

fn write_pid(file: &mut File) -> std::io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "{}", std::process::id())
}
