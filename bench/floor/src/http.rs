//! As much of HTTP/1.1 as the exchanges need: one request after the other, bodies of a length that is told.

use crate::Result;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

/// A connection, in the clear or inside of TLS.
pub(crate) struct Connection<S> {
    stream: S,
    host: String,
}

/// A connection in the clear.
pub(crate) fn plain(place: SocketAddr) -> Result<Connection<TcpStream>> {
    Ok(Connection::new(tcp(place)?, &place.ip().to_string()))
}

/// A socket that holds nothing back.
pub(crate) fn tcp(place: SocketAddr) -> Result<TcpStream> {
    let stream = TcpStream::connect(place)?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

impl<S: Read + Write> Connection<S> {
    pub(crate) fn new(stream: S, host: &str) -> Self {
        Self { stream, host: host.to_owned() }
    }

    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    pub(crate) fn send(&mut self, what: &str, headers: &[(&str, &str)], body: &str) -> Result<()> {
        let mut text = format!("{what} HTTP/1.1\r\nhost: {}\r\ncontent-length: {}\r\n", self.host, body.len());
        for (name, value) in headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        text.push_str("\r\n");
        text.push_str(body);
        self.stream.write_all(text.as_bytes())?;
        Ok(self.stream.flush()?)
    }

    /// The body of the next answer, which has to be a good one.
    pub(crate) fn answer(&mut self) -> Result<String> {
        let mut bytes = Vec::new();
        let mut piece = [0; 4096];
        loop {
            if let Some(body) = whole(&bytes)? {
                return Ok(body.to_owned());
            }
            match self.stream.read(&mut piece)? {
                0 => return Err("the connection ended".into()),
                read => bytes.extend_from_slice(&piece[..read]),
            }
        }
    }
}

/// The body, once all of it is there.
fn whole(bytes: &[u8]) -> Result<Option<&str>> {
    let text = std::str::from_utf8(bytes)?;
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return Ok(None) };
    let length =
        head.lines().find_map(|line| line.strip_prefix("content-length: ")).ok_or("a body without a length")?;
    if body.len() < length.parse()? {
        return Ok(None);
    }
    if head.starts_with("HTTP/1.1 200 ") { Ok(Some(body)) } else { Err(text.into()) }
}
