use std::fs::{self, File, Permissions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::Result;

use crate::process::output;

/// A temporary folder, removed when dropped; kept, and named, when the test panics or
/// `TRUECHIMER_KEEP` is set.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    /// Has a file system of its own.
    mounted: bool,
}

impl Folder {
    /// A new one. Others may pass through it: Postgres does not run as root.
    pub fn new() -> Result<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name =
            format!("truechimer-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path)?;
        fs::set_permissions(&path, Permissions::from_mode(0o755))?;
        Ok(Self { path, mounted: false })
    }

    /// One on a file system of its own with so much room, or why this machine gives none.
    pub fn with_room(mebibytes: u32) -> Result<Result<Self, String>> {
        let mut folder = Self::new()?;
        let size = format!("size={mebibytes}m,mode=0755");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(&folder.path);
        if let Err(error) = output(&mut mount) {
            return Ok(Err(format!("{error:#}")));
        }
        folder.mounted = true;
        Ok(Ok(folder))
    }

    /// Takes all the room there is; the file that holds it.
    pub fn fill(&self) -> Result<PathBuf> {
        let path = self.path.join("ballast");
        let mut file = File::options().append(true).create(true).open(&path)?;
        // In smaller and smaller pieces, to the last byte.
        for size in [1 << 20, 1 << 12, 1] {
            let piece = vec![0u8; size];
            while file.write_all(&piece).is_ok() {}
        }
        Ok(path)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if std::thread::panicking() || std::env::var_os("TRUECHIMER_KEEP").is_some() {
            eprintln!("logs and data are kept in {}", self.path.display());
        } else {
            if self.mounted {
                let _ = output(Command::new("umount").arg("--lazy").arg(&self.path));
            }
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}
