use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

use nix::unistd::{Pid, User, geteuid};
use sqlx::postgres::PgConnectOptions;

use super::{OWNER, PostgresError};

/// Longest path of a unix socket on Linux is 107 bytes; this much is the name inside the folder.
const SOCKET_NAME: &str = "/.s.PGSQL.65535";
/// The port that names the socket's file while there is no listener on TCP.
const QUIET_PORT: u16 = 5432;
const LONGEST_SOCKET: usize = 107;
/// The last resort of root; other programs may run as it too.
const SHARED_USER: &str = "nobody";

/// Where the cluster's files are and who owns them.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    /// Holds all of the below; owned by `user`, closed to others.
    pub(super) folder: PathBuf,
    /// PGDATA.
    pub(super) data: PathBuf,
    /// The folder of the unix socket.
    pub(super) socket: PathBuf,
    /// The server's log.
    pub(super) log: PathBuf,
    /// Held as long as a process serves from here.
    pub(super) lock: PathBuf,
    /// Where SQL users connect by TCP; `None`: by the socket alone.
    pub(super) listen: Option<SocketAddr>,
    /// Who runs the server.
    pub(super) user: User,
}

impl Layout {
    /// Makes the folders, owned by the user who runs the server.
    pub(super) fn prepare(
        data_dir: &Path,
        listen: Option<SocketAddr>,
    ) -> Result<Self, PostgresError> {
        let user = server_user()?;
        std::fs::create_dir_all(data_dir)
            .map_err(PostgresError::file("cannot create the data directory", data_dir))?;
        let data_dir = &data_dir
            .canonicalize()
            .map_err(PostgresError::file("cannot enter the data directory", data_dir))?;
        let folder = super::folder(data_dir);
        make_private(&folder, &user)?;
        if geteuid().is_root() {
            warn_if_shared(&user);
            open_to(&user, data_dir)?;
        }
        let layout = Self { listen, ..Self::at(folder, user)? };
        make_private(&layout.socket, &layout.user)?;
        Ok(layout)
    }

    /// The layout, if [`Layout::prepare`] was ever here.
    pub(super) fn existing(data_dir: &Path) -> Result<Option<Self>, PostgresError> {
        match super::folder(data_dir).canonicalize() {
            Ok(folder) => Ok(Some(Self::at(folder, server_user()?)?)),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(PostgresError::file("cannot enter", data_dir)(e)),
        }
    }

    fn at(folder: PathBuf, user: User) -> Result<Self, PostgresError> {
        let mut socket = folder.join("socket");
        if socket.as_os_str().len() + SOCKET_NAME.len() > LONGEST_SOCKET {
            let inode = std::fs::metadata(&folder)
                .map_err(PostgresError::file("cannot look at", &folder))?
                .ino();
            socket = std::env::temp_dir().join(format!("truechimer-{}-{inode}", user.uid));
        }
        Ok(Self {
            data: folder.join("data"),
            log: folder.join("postgres.log"),
            lock: folder.join("lock"),
            socket,
            folder,
            listen: None,
            user,
        })
    }

    /// The port that is part of the socket's name, and of the listener's address.
    pub(super) fn port(&self) -> u16 {
        self.listen.map_or(QUIET_PORT, |at| at.port())
    }

    /// The file of the socket.
    pub(super) fn socket_file(&self) -> PathBuf {
        self.socket.join(format!(".s.PGSQL.{}", self.port()))
    }

    /// As the running server was told, which may differ from our own settings.
    pub(super) fn into_running(mut self) -> Self {
        if let Some(running) = PidFile::read(&self) {
            self.listen = running.listen.or((running.port != QUIET_PORT)
                .then_some(SocketAddr::new(std::net::Ipv4Addr::LOCALHOST.into(), running.port)));
        }
        self
    }

    /// How to connect as the owner.
    pub(super) fn connect_options(&self) -> PgConnectOptions {
        PgConnectOptions::new_without_pgpass()
            .socket(&self.socket)
            .port(self.port())
            .username(OWNER)
            .database(OWNER)
            .application_name("truechimer")
    }
}

/// What a running server wrote into postmaster.pid.
#[derive(Debug)]
pub(super) struct PidFile {
    pub(super) pid: Pid,
    pub(super) port: u16,
    pub(super) listen: Option<SocketAddr>,
}

impl PidFile {
    pub(super) fn read(layout: &Layout) -> Option<Self> {
        Self::parse(&std::fs::read_to_string(layout.data.join("postmaster.pid")).ok()?)
    }

    /// Line 1 is the process, 4 the port, 6 the address. A server that still starts has fewer.
    fn parse(text: &str) -> Option<Self> {
        let mut lines = text.lines().map(str::trim);
        let pid = Pid::from_raw(lines.next()?.parse().ok()?);
        let port = lines.nth(2).and_then(|port| port.parse().ok()).unwrap_or(QUIET_PORT);
        let address = lines.nth(1).and_then(|address| address.parse().ok());
        Some(Self { pid, port, listen: address.map(|ip| SocketAddr::new(ip, port)) })
    }
}

/// Whoever we are, or for root somebody with fewer rights: the server refuses to run as root.
fn server_user() -> Result<User, PostgresError> {
    let uid = geteuid();
    if !uid.is_root() {
        let me = User::from_uid(uid).ok().flatten();
        return me.ok_or_else(|| PostgresError::NoUser {
            who: format!("uid {uid}"),
            why: "initdb needs an entry for it in /etc/passwd",
        });
    }
    let found =
        ["postgres", SHARED_USER].iter().find_map(|name| User::from_name(name).ok().flatten());
    found.ok_or_else(|| PostgresError::NoUser {
        who: "root".into(),
        why: "neither user postgres nor user nobody exists; create one of them",
    })
}

/// Whoever runs the server comes in as the owner, by peer authentication.
fn warn_if_shared(user: &User) {
    if user.name == SHARED_USER {
        tracing::warn!(
            "there is no user postgres, so Postgres runs as {SHARED_USER}, and any other process of \
             {SHARED_USER} on this machine may read and change the database. Create a user of its own \
             before the first start (`useradd --system --user-group postgres`), or run the collector \
             as an unprivileged user"
        );
    }
}

/// A folder with mode 0700 that belongs to `user`; one that exists must be exactly that.
fn make_private(folder: &Path, user: &User) -> Result<(), PostgresError> {
    match std::fs::DirBuilder::new().mode(0o700).create(folder) {
        Ok(()) => chown(folder, Some(user.uid.as_raw()), Some(user.gid.as_raw()))
            .map_err(PostgresError::file("cannot give away", folder)),
        Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {
            let found = std::fs::symlink_metadata(folder)
                .map_err(PostgresError::file("cannot look at", folder))?;
            if found.is_dir() && found.uid() == user.uid.as_raw() && found.mode() & 0o077 == 0 {
                return Ok(());
            }
            let refused = std::io::Error::other(format!(
                "must be a folder that belongs to {} alone (mode 0700)",
                user.name
            ));
            Err(PostgresError::file("cannot use", folder)(refused))
        }
        Err(e) => Err(PostgresError::file("cannot create", folder)(e)),
    }
}

/// As root: lets the server's user pass through the data directory, which is ours to open, and checks
/// the folders above it, which are not.
fn open_to(user: &User, data_dir: &Path) -> Result<(), PostgresError> {
    for folder in data_dir.ancestors() {
        let found =
            std::fs::metadata(folder).map_err(PostgresError::file("cannot look at", folder))?;
        let bit = match () {
            () if found.uid() == user.uid.as_raw() => 0o100,
            () if found.gid() == user.gid.as_raw() => 0o010,
            () => 0o001,
        };
        if found.mode() & bit != 0 {
            continue;
        }
        if folder != data_dir {
            return Err(PostgresError::Unreachable {
                user: user.name.clone(),
                folder: folder.to_owned(),
            });
        }
        let mode = std::fs::Permissions::from_mode(found.mode() | bit);
        std::fs::set_permissions(folder, mode)
            .map_err(PostgresError::file("cannot open the data directory", folder))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Proves that port and address are read from what servers write, also while they start.
    #[test]
    fn pid_files_of_real_servers() {
        let whole = "4711\n/d/data\n1764100000\n5433\n/d/socket\n127.0.0.1\n 5 0\nready   \n";
        let read = PidFile::parse(whole).unwrap();
        assert_eq!((read.pid.as_raw(), read.port), (4711, 5433));
        assert_eq!(read.listen, Some("127.0.0.1:5433".parse().unwrap()));
        let quiet = PidFile::parse("4711\n/d/data\n1764100000\n5432\n/d/socket\n\n").unwrap();
        assert_eq!((quiet.port, quiet.listen), (QUIET_PORT, None));
        assert_eq!(PidFile::parse("4711\n/nowhere\n0\n").unwrap().port, QUIET_PORT);
        assert!(PidFile::parse("").is_none());
    }
}
