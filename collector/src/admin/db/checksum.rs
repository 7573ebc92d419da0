//! SHA-256 of a backup, in a file beside it, as `sha256sum` writes and checks it.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, bail, ensure};
use aws_lc_rs::digest;
use risk::phrase::size;

use super::progress;

const PIECE: usize = 1 << 20;
const DIGITS: usize = 64;

/// Where the checksum of a backup is kept.
pub(super) fn beside(backup: &Path) -> PathBuf {
    let mut name = backup.as_os_str().to_owned();
    name.push(".sha256");
    name.into()
}

/// The line for the file beside a backup.
pub(super) fn line(sum: &str, backup: &Path) -> String {
    let name = backup.file_name().unwrap_or_default().to_string_lossy();
    format!("{sum}  {name}\n")
}

/// Reads a whole file.
///
/// # Errors
/// It cannot be read.
pub(super) async fn of(file: &Path) -> anyhow::Result<String> {
    let bytes = std::fs::metadata(file)?.len();
    let so_far = Arc::new(AtomicU64::new(0));
    let (path, count) = (file.to_owned(), Arc::clone(&so_far));
    let work = tokio::task::spawn_blocking(move || read(&path, &count));
    let words = || format!("{} of {} read", size(so_far.load(Ordering::Relaxed)), size(bytes));
    let sum = progress::watch("checksum", work, words).await?;
    sum.with_context(|| format!("cannot read {}", file.display()))
}

fn read(path: &Path, so_far: &AtomicU64) -> std::io::Result<String> {
    let mut file = std::fs::File::open(path)?;
    let mut sum = digest::Context::new(&digest::SHA256);
    let mut piece = vec![0; PIECE];
    loop {
        let n = file.read(&mut piece)?;
        if n == 0 {
            let sum = sum.finish();
            return Ok(sum.as_ref().iter().map(|byte| format!("{byte:02x}")).collect());
        }
        sum.update(&piece[..n]);
        so_far.fetch_add(n as u64, Ordering::Relaxed);
    }
}

/// Compares a backup with the checksum beside it; `false`: there is none.
///
/// # Errors
/// They differ, or one of them cannot be read.
pub(super) async fn verify(backup: &Path) -> anyhow::Result<bool> {
    let beside = beside(backup);
    let text = match std::fs::read_to_string(&beside) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
        Err(error) => bail!("cannot read the checksum {}: {error}", beside.display()),
    };
    let Some(expected) = parse(&text) else {
        bail!("{} is no checksum as sha256sum writes it; is it damaged?", beside.display())
    };
    let found = of(backup).await?;
    ensure!(
        found == expected,
        "{} is damaged: its SHA-256 is {found}, and was {expected} when it was made ({}). Nothing was written. \
         Take another copy of it, or another backup",
        backup.display(),
        beside.display(),
    );
    Ok(true)
}

fn parse(text: &str) -> Option<String> {
    let sum = text.split_whitespace().next()?;
    let is_sum = sum.len() == DIGITS && sum.bytes().all(|digit| digit.is_ascii_hexdigit());
    is_sum.then(|| sum.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Proves that what sha256sum writes is read, and nothing else.
    #[test]
    fn the_form_of_sha256sum() {
        let sum = "0123456789abcdef".repeat(4);
        let line = line(&sum, Path::new("/backup/fleet.dump"));
        assert_eq!(line, format!("{sum}  fleet.dump\n"));
        assert_eq!(parse(&line), Some(sum.clone()));
        assert_eq!(parse(&format!("{} *fleet.dump", sum.to_uppercase())), Some(sum.clone()));
        for bad in ["", "\n", &sum[1..], &sum.replace('a', "g"), &format!("{sum}0  x")] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }

    /// Proves that the sum is the one that others compute.
    #[tokio::test]
    async fn sum_of_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("abc");
        std::fs::write(&file, "abc").unwrap();
        let sum = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(of(&file).await.unwrap(), sum);
        assert!(!verify(&file).await.unwrap());
        std::fs::write(beside(&file), line(sum, &file)).unwrap();
        assert!(verify(&file).await.unwrap());
    }
}
