//! Connections of agents. Each is one task, with the HTTP/2 state of its library and the calls on it: mostly one
//! session, which mostly waits. What it holds meanwhile decides how many agents a collector can have.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use h2::{Ping, PingPong};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::service::Service;

/// Silent connections are asked for a sign of life so often, and closed without one.
const KEEPALIVE: Duration = Duration::from_secs(30);
const KEEPALIVE_LIMIT: Duration = Duration::from_secs(20);
/// A client that connects and does not say what it speaks is not an agent.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(10);
/// Bounds what one connection may open; an agent opens one stream.
const STREAMS_PER_CONNECTION: u32 = 1_024;
/// Sent to us and not read yet, at most.
const WINDOW_BYTES: u32 = 1 << 20;
/// Waits for the client to read, at most.
const SEND_BUFFER_BYTES: usize = 64 << 10;
/// Of one call; an agent's are a hundredth of it.
const HEADER_BYTES: u32 = 16 << 10;
/// The pause when there are too many connections for the limits of the system.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Takes connections until `drain`, then waits until all have ended.
pub(super) async fn accept(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    service: Arc<Service>,
    drain: CancellationToken,
) {
    let connections = TaskTracker::new();
    loop {
        let accepted = tokio::select! {
            () = drain.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        let stream =
            match accepted.and_then(|(stream, _)| stream.set_nodelay(true).map(|()| stream)) {
                Ok(stream) => stream,
                Err(error) => {
                    tracing::warn!(%error, "cannot take a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
        match &tls {
            None => drop(connections.spawn(serve(stream, service.clone()))),
            Some(tls) => {
                // In a box, as in `serve`: it is long over when the connection waits.
                let shaking = Box::pin(tokio::time::timeout(HANDSHAKE_LIMIT, tls.accept(stream)));
                let service = service.clone();
                connections.spawn(async move {
                    match shaking.await {
                        Ok(Ok(stream)) => serve(stream, service).await,
                        Ok(Err(error)) => tracing::debug!(%error, "no TLS"),
                        Err(_) => tracing::debug!("no TLS in time"),
                    }
                });
            }
        }
    }
    drop(listener);
    connections.close();
    connections.wait().await;
}

/// One connection, to its end.
async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin, service: Arc<Service>) {
    let heard = Arc::new(AtomicBool::new(true));
    let stream = Listening { stream, heard: heard.clone() };
    let handshake = h2::server::Builder::new()
        .initial_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES)
        .max_concurrent_streams(STREAMS_PER_CONNECTION)
        .max_send_buffer_size(SEND_BUFFER_BYTES)
        .max_header_list_size(HEADER_BYTES)
        // An agent opens one stream: nothing would be gained by what it said on the last one.
        .header_table_size(0)
        .handshake(stream);
    let handshake = Box::pin(tokio::time::timeout(HANDSHAKE_LIMIT, handshake)).await;
    let mut connection = match handshake {
        Ok(Ok(connection)) => connection,
        Ok(Err(error)) => return tracing::debug!(%error, "not HTTP/2"),
        Err(_) => return tracing::debug!("not HTTP/2 in time"),
    };
    let pings = connection.ping_pong().expect("invariant: asked for once");
    let mut silent = pin!(silent(pings, heard));
    let mut calls = FuturesUnordered::new();
    let mut closing = false;
    std::future::poll_fn(|cx| {
        loop {
            if service.sessions.stopping() && !closing {
                closing = true;
                connection.graceful_shutdown();
            }
            match pin!(connection.accept()).poll(cx) {
                Poll::Ready(Some(Ok((request, respond)))) => {
                    calls.push(service.call(request, respond));
                    continue;
                }
                Poll::Ready(Some(Err(error))) => {
                    tracing::debug!(%error, "connection broke");
                    return Poll::Ready(());
                }
                Poll::Ready(None) => return Poll::Ready(()),
                Poll::Pending => {}
            }
            // What they send is taken along by the connection when it is polled next, for which it wakes us.
            if calls.poll_next_unpin(cx) != Poll::Ready(Some(())) {
                break;
            }
        }
        silent.as_mut().poll(cx)
    })
    .await;
    // They see the end for themselves, unless they wait for the database: then nobody waits for its answer.
    std::future::poll_fn(|cx| {
        while calls.poll_next_unpin(cx) == Poll::Ready(Some(())) {}
        Poll::Ready(())
    })
    .await;
}

/// Ends when the client gives no sign of life.
async fn silent(mut pings: PingPong, heard: Arc<AtomicBool>) {
    loop {
        tokio::time::sleep(KEEPALIVE).await;
        if heard.swap(false, Ordering::Relaxed) {
            continue;
        }
        let pong = tokio::time::timeout(KEEPALIVE_LIMIT, pings.ping(Ping::opaque())).await;
        if !matches!(pong, Ok(Ok(_))) {
            return tracing::debug!("a connection gives no sign of life");
        }
        // Its answer to us is not a word of its own.
        heard.store(false, Ordering::Relaxed);
    }
}

/// Notes that something was received.
struct Listening<T> {
    stream: T,
    heard: Arc<AtomicBool>,
}

impl<T: AsyncRead + Unpin> AsyncRead for Listening<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        if read.is_ready() {
            self.heard.store(true, Ordering::Relaxed);
        }
        read
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Listening<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[std::io::IoSlice<'_>],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
