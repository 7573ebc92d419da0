//! Orders to the running agent: which sources to ask.
//!
//! A socket of its own, beside the one that everybody may read: one line is an order, one line answers it,
//! and only root and the agent's own user are heard.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::local::LocalSocket;

/// Who may connect to the control socket.
pub const MODE: u32 = 0o600;
/// A peer that does not finish within this time is left.
const PATIENCE: Duration = Duration::from_secs(2);
/// Longest order: longer than any name.
const MAX_ORDER: u64 = 512;

/// Start or stop asking sources.
#[derive(Debug)]
pub struct Order {
    /// Whether to ask them.
    pub online: bool,
    /// By name, host or address; `None`: all.
    pub source: Option<String>,
    /// Hears how many sources were meant.
    pub answer: oneshot::Sender<usize>,
}

/// Hears orders until `stop`, and hands them on.
pub async fn serve(socket: LocalSocket, orders: mpsc::Sender<Order>, stop: CancellationToken) {
    let own = nix::unistd::geteuid().as_raw();
    while let Some(mut stream) = socket.accept(&stop).await {
        let answer = match stream.peer_cred() {
            Ok(peer) if [0, own].contains(&peer.uid()) => {
                timeout(PATIENCE, obey(&mut stream, &orders)).await
            }
            _ => Ok("refused: only root and the agent's own user may say this".to_owned()),
        };
        let answer = answer.unwrap_or_else(|_| "refused: no order in time".to_owned());
        let _ = timeout(PATIENCE, stream.write_all(format!("{answer}\n").as_bytes())).await;
    }
}

async fn obey(stream: &mut UnixStream, orders: &mpsc::Sender<Order>) -> String {
    let mut line = String::new();
    if BufReader::new(stream.take(MAX_ORDER)).read_line(&mut line).await.is_err() {
        return "refused: not a line of text".to_owned();
    }
    let (word, source) = match line.trim().split_once(' ') {
        Some((word, source)) => (word, Some(source.trim().to_owned())),
        None => (line.trim(), None),
    };
    let online = match word {
        "online" => true,
        "offline" => false,
        _ => return "refused: an order is \"online [SOURCE]\" or \"offline [SOURCE]\"".to_owned(),
    };
    info!("told to go {word}: {}", source.as_deref().unwrap_or("every source"));
    let name = source.clone();
    let (answer, answered) = oneshot::channel();
    if orders.send(Order { online, source, answer }).await.is_err() {
        return "refused: the agent is stopping".to_owned();
    }
    match (answered.await, name) {
        (Ok(0), Some(name)) => format!("refused: no source is called {name}"),
        (Ok(count), _) => format!("ok: {count} {word}"),
        (Err(_), _) => "refused: the agent is stopping".to_owned(),
    }
}

/// Gives an order to the agent behind `socket`; what it answers.
pub fn order(socket: &Path, online: bool, source: Option<&str>) -> Result<String> {
    let mut stream = std::os::unix::net::UnixStream::connect(socket).with_context(|| {
        format!(
            "no agent hears orders at {}: is `truechimer-agent run` running, with the same state-dir, \
             and are you root or its user?",
            socket.display()
        )
    })?;
    stream.set_read_timeout(Some(PATIENCE + PATIENCE))?;
    let word = if online { "online" } else { "offline" };
    stream.write_all(format!("{word} {}\n", source.unwrap_or("")).as_bytes())?;
    stream.shutdown(Shutdown::Write)?;
    let mut answer = String::new();
    stream.take(MAX_ORDER).read_to_string(&mut answer).context("the agent does not answer")?;
    match answer.trim().strip_prefix("ok: ") {
        Some(done) => Ok(done.to_owned()),
        None => bail!("{}", answer.trim()),
    }
}
