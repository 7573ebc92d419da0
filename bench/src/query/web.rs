//! Pages, as the browser of somebody who has signed in asks for them.

use std::io::{Read, Write};
use std::net::TcpStream;

use anyhow::{Context, Result, ensure};

pub(crate) const SECRET: &str = "bench-query";
const COOKIE: &str = "truechimer_session";

/// Octets of the answer to GET.
pub(crate) fn get(address: &str, path: &str) -> Result<usize> {
    let mut stream = TcpStream::connect(address).with_context(|| address.to_owned())?;
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: {address}\r\nCookie: {COOKIE}={SECRET}\r\nConnection: close\r\n\r\n"
    )?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let status = answer.split(|byte| *byte == b' ').nth(1);
    ensure!(status == Some(b"200"), "{path}: {}", String::from_utf8_lossy(&answer));
    Ok(answer.len())
}
