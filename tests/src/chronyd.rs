use std::fs::{self, Permissions};
use std::net::UdpSocket;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use crate::process::{Process, tool};

/// A real chronyd that serves this machine's clock on a high loopback port and controls nothing.
#[derive(Debug)]
pub struct Chronyd {
    port: u16,
    _process: Process,
}

impl Chronyd {
    /// `None`: this machine has no chronyd.
    pub fn start(folder: &Path) -> Result<Option<Self>> {
        let Some(program) = tool("CHRONYD", &["chronyd"]) else { return Ok(None) };
        let port = UdpSocket::bind("127.0.0.1:0")?.local_addr()?.port();
        let folder = folder.join("chronyd");
        fs::create_dir(&folder)?;
        fs::set_permissions(&folder, Permissions::from_mode(0o777))?;
        let config = folder.join("chrony.conf");
        fs::write(
            &config,
            format!(
                "local stratum 5\nallow 127.0.0.0/8\nbindaddress 127.0.0.1\nport {port}\n\
                 cmdport 0\nbindcmdaddress /\npidfile {}\n",
                folder.join("chronyd.pid").display()
            ),
        )?;
        let user = nix::unistd::User::from_uid(nix::unistd::geteuid())?.context("who am I?")?;
        // -x: leave the clock alone; -U: run without root; -d: stay in the foreground.
        let mut command = Command::new(program);
        command.args(["-x", "-U", "-d", "-u", &user.name, "-f"]).arg(config);
        let process = Process::start(&mut command, &folder.join("log"))?;
        Ok(Some(Self { port, _process: process }))
    }

    /// `127.0.0.1:port`, as an agent's source is named.
    pub fn name(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }
}
