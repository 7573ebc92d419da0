//! Who this host is: an id kept in the state directory, the boot id, and the credential.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use timebase::{BootId, HostId};

use crate::uplink::{Credentials, Secret};

/// Where Linux keeps the id of this boot.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// The host's id, made at the first start and kept for as long as the state directory is.
pub fn host_id(state_dir: &Path) -> Result<HostId> {
    let path = state_dir.join("host-id");
    match fs::read_to_string(&path) {
        Ok(text) => text.parse().with_context(|| {
            format!("{}: not a host id; delete the file to enrol as a new host", path.display())
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let id = HostId::from_bytes(uuid::Uuid::new_v4().into_bytes());
            replace(&path, &format!("{id}\n")).with_context(|| path.display().to_string())?;
            Ok(id)
        }
        Err(error) => Err(error).with_context(|| path.display().to_string()),
    }
}

/// The id of this boot; a random one where the system has none, which makes every start a boot.
pub fn boot_id() -> BootId {
    let system = fs::read_to_string(BOOT_ID).ok().and_then(|text| text.parse().ok());
    system.unwrap_or_else(|| {
        tracing::warn!("{BOOT_ID} cannot be read: this start counts as a boot");
        BootId::from_bytes(uuid::Uuid::new_v4().into_bytes())
    })
}

/// Whether the agent starts for the first time in this boot; notes that it did.
pub fn is_first_start(state_dir: &Path, boot: BootId) -> bool {
    let path = state_dir.join("boot-id");
    let known = fs::read_to_string(&path).ok().and_then(|text| text.parse().ok());
    if known == Some(boot) {
        return false;
    }
    if let Err(error) = replace(&path, &format!("{boot}\n")) {
        tracing::warn!("{}: {error}; the next start counts as a boot", path.display());
    }
    true
}

/// The state directory, made for its owner only.
pub fn make_state_dir(path: &Path) -> Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path).with_context(|| {
        format!("state directory {}: choose another with --state-dir", path.display())
    })
}

/// The credential in the state directory (mode 0600), and the join token's file.
#[derive(Debug)]
pub struct CredentialFile {
    path: PathBuf,
    join_token_file: Option<PathBuf>,
    /// A credential that the disk refused to take; it serves until the agent ends.
    unwritten: Option<Secret>,
}

impl CredentialFile {
    /// Does not touch the files yet.
    pub fn new(state_dir: &Path, join_token_file: Option<PathBuf>) -> Self {
        Self { path: state_dir.join("credential"), join_token_file, unwritten: None }
    }
}

impl Credentials for CredentialFile {
    fn credential(&self) -> io::Result<Option<Secret>> {
        match &self.unwritten {
            Some(credential) => Ok(Some(credential.clone())),
            None => read_secret(&self.path),
        }
    }

    fn keep(&mut self, credential: &Secret) -> io::Result<()> {
        let written = replace(&self.path, credential.expose());
        self.unwritten = written.is_err().then(|| credential.clone());
        written
    }

    fn join_token(&self) -> io::Result<Option<Secret>> {
        self.join_token_file.as_deref().map_or(Ok(None), read_secret)
    }
}

fn read_secret(path: &Path) -> io::Result<Option<Secret>> {
    match fs::read_to_string(path) {
        Ok(text) if text.trim().is_empty() => Ok(None),
        Ok(text) => Ok(Some(Secret::new(&text))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(io::Error::new(error.kind(), format!("{}: {error}", path.display()))),
    }
}

/// Writes a small private file so that it is there whole or not at all, and stays after a power cut.
pub(crate) fn replace(path: &Path, text: &str) -> io::Result<()> {
    let fresh = path.with_extension("new");
    let mut file =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&fresh)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&fresh, path)?;
    path.parent().map_or(Ok(()), |directory| File::open(directory)?.sync_all())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn scratch(test: &str) -> PathBuf {
        let path =
            std::env::temp_dir().join(format!("truechimer-identity-{test}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        make_state_dir(&path).unwrap();
        path
    }

    /// Proves that the host keeps its id, that a damaged one is not silently replaced, and that only
    /// the first start in a boot counts as one.
    #[test]
    fn a_host_keeps_its_id() {
        let dir = scratch("id");
        let id = host_id(&dir).unwrap();
        assert_eq!(host_id(&dir).unwrap(), id);
        let boot = BootId::from_bytes([1; 16]);
        assert!(is_first_start(&dir, boot));
        assert!(!is_first_start(&dir, boot));
        assert!(is_first_start(&dir, BootId::from_bytes([2; 16])));
        fs::write(dir.join("host-id"), "damaged").unwrap();
        assert!(host_id(&dir).unwrap_err().to_string().contains("host-id"));
        fs::remove_dir_all(dir).unwrap();
    }

    /// Proves that the credential is kept for its owner only, and serves on when the disk refuses it.
    #[test]
    fn a_credential_is_kept() {
        let dir = scratch("credential");
        let token = dir.join("token");
        let mut file = CredentialFile::new(&dir, Some(token.clone()));
        assert_eq!(file.join_token().unwrap(), None);
        fs::write(token, "tcj_x\n").unwrap();
        assert_eq!(file.join_token().unwrap(), Some(Secret::new("tcj_x")));
        assert_eq!(file.credential().unwrap(), None);
        file.keep(&Secret::new("tch_one")).unwrap();
        assert_eq!(file.credential().unwrap(), Some(Secret::new("tch_one")));
        let mode = fs::metadata(dir.join("credential")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        fs::remove_dir_all(&dir).unwrap();
        assert!(file.keep(&Secret::new("tch_two")).is_err());
        assert_eq!(file.credential().unwrap(), Some(Secret::new("tch_two")));
    }
}
