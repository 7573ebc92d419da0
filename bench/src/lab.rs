//! What all cells share: the folder, the private clock's library, the servers.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::cells::{Cell, Server};
use crate::clients::{ChronyServer, Client, Running, Task};
use crate::delay;
use crate::private_clock::Preload;
use crate::proxy::Link;

/// How far the falseticker's clock is ahead.
const LIE_S: f64 = 0.08;

#[derive(Debug)]
pub(crate) struct Lab {
    pub(crate) folder: PathBuf,
    pub(crate) preload: Preload,
    honest: ChronyServer,
    falseticker: ChronyServer,
    links: std::cell::Cell<u16>,
}

impl Lab {
    pub(crate) fn new(folder: &Path, chronyd: &Path) -> Result<Self> {
        let preload = Preload::compile(folder)?;
        let server = |name: &str, host, ahead_s| {
            let address = Ipv4Addr::new(127, 20, 0, host);
            ChronyServer::start(chronyd, address, &folder.join(name), ahead_s, &preload)
        };
        let honest = server("server", 1, 0.0)?;
        let falseticker = server("falseticker", 2, LIE_S)?;
        let folder = folder.to_owned();
        Ok(Self { folder, preload, honest, falseticker, links: std::cell::Cell::new(0) })
    }

    /// The begin of a path of its own to the server. Each has its own address, because chronyd tells
    /// servers apart by address alone.
    pub(crate) fn link(&self, server: Server, path: delay::Path) -> Result<Link> {
        let number = self.links.get() + 1;
        self.links.set(number);
        let [high, low] = number.to_be_bytes();
        let target = match server {
            Server::Honest => self.honest.address,
            Server::Falseticker => self.falseticker.address,
        };
        Link::new(Ipv4Addr::new(127, 21, high, low), target, path)
    }

    /// What `client` needs for a cell; its paths are added to `links`.
    pub(crate) fn task(
        &self,
        cell: &Cell,
        client: &Client,
        copy: u32,
        polls: std::ops::RangeInclusive<i8>,
        links: &mut Vec<Link>,
    ) -> Result<Task> {
        let mut servers = Vec::new();
        for link in cell.links {
            let Some(path) = link.path else {
                servers.push(self.honest.address);
                continue;
            };
            let link = self.link(link.server, path)?;
            servers.push(link.address()?);
            links.push(link);
        }
        let name = format!("{}-{}-{copy}", cell.name, client.name.replace([' ', '/'], "-"));
        let folder = self.folder.join(name);
        // What an earlier repeat learned, such as a drift file, is forgotten.
        let _ = std::fs::remove_dir_all(&folder);
        Ok(Task { servers, polls, folder, collector: None })
    }

    pub(crate) fn start(&self, client: &Client, task: &Task) -> Result<Running> {
        Running::start(client.clone(), task, &self.preload)
            .with_context(|| format!("starting {}", client.name))
    }
}
