//! Sockets of clients: connected without waiting, upgraded by a constant request, read with as few calls as will do.

use super::super::scenario::Scenario;
use super::inflate::{AGREED, OFFER, Plain};
use crate::client::socket_config;
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::Duration;
use tungstenite::WebSocket;
use tungstenite::protocol::Role;

/// The key of every upgrade, and what answers it (RFC 6455, 1.3).
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
/// Bytes of an answer to an upgrade.
const HEAD_MAX: usize = 8 << 10;
/// Read buffers of all connections of a worker together, and of one.
const BUFFERS_MAX: usize = 64 << 20;
const BUFFER: std::ops::RangeInclusive<usize> = (4 << 10)..=(8 << 10);
/// Connections from one source address, which has 28,000 ports. The kernel chooses for the first ones: to look for a port
/// that is free for any peer costs it more than the connection does.
const PER_SOURCE: usize = 20_000;

/// A socket beneath a WebSocket: after a read that did not fill its buffer there is nothing left, which saves the call
/// that would say so. (What comes later makes the socket readable again.)
#[derive(Debug)]
pub struct Stream {
    socket: TcpStream,
    /// Whether the last read took all; to be cleared when the socket is readable.
    pub drained: bool,
    /// Bytes read and not yet counted.
    pub received: u64,
    /// Bytes written and not yet counted.
    pub sent: u64,
    /// Where permessage-deflate is agreed.
    plain: Option<Box<Plain>>,
}

/// Bytes read at a time where they are decompressed.
const COMPRESSED_READ: usize = 16 << 10;

impl Stream {
    /// From the socket, as it is on the wire.
    fn read_wire(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.drained {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let count = self.socket.read(buffer)?;
        self.drained = count > 0 && count < buffer.len();
        self.received += count as u64;
        Ok(count)
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(mut plain) = self.plain.take() else { return self.read_wire(buffer) };
        let mut wire = [0; COMPRESSED_READ];
        let count = loop {
            match plain.take(buffer) {
                0 => {}
                count => break Ok(count),
            }
            match self.read_wire(&mut wire) {
                Ok(0) => break Ok(0),
                Ok(count) => {
                    if let Err(error) = plain.put(&wire[..count]) {
                        break Err(error);
                    }
                }
                Err(error) => break Err(error),
            }
        };
        self.plain = Some(plain);
        count
    }
}

impl Write for Stream {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let count = self.socket.write(buffer)?;
        self.sent += count as u64;
        Ok(count)
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A connection in whatever state.
#[derive(Debug, Default)]
pub enum Link {
    /// None.
    #[default]
    Away,
    /// On its way.
    Connecting(TcpStream),
    /// The upgrade is sent; what has come of the answer.
    Upgrading(TcpStream, Vec<u8>),
    /// A WebSocket.
    Open(Box<WebSocket<Stream>>),
}

impl Link {
    /// The socket, if there is one.
    pub fn socket(&self) -> Option<&TcpStream> {
        match self {
            Link::Away => None,
            Link::Connecting(socket) | Link::Upgrading(socket, _) => Some(socket),
            Link::Open(open) => Some(&open.get_ref().socket),
        }
    }

    /// Ends it without a word: the peer gets a reset, and no port stays behind.
    pub fn cut(&mut self) {
        if let Some(socket) = self.socket() {
            // Without it the end is an orderly one, which is no fault either.
            let _ = SockRef::from(socket).set_linger(Some(Duration::ZERO));
        }
        *self = Link::Away;
    }
}

/// Begins a connection. On loopback, many clients come from several addresses.
///
/// # Errors
/// If there is no socket to be had.
pub fn connect(addr: SocketAddr, client: usize, receive_buffer: Option<usize>) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    if let Some(size) = receive_buffer {
        socket.set_recv_buffer_size(size)?;
    }
    if let IpAddr::V4(ip) = addr.ip()
        && ip.is_loopback()
        && client >= PER_SOURCE
    {
        let source = IpAddr::from([127, 0, 0, 1 + (client / PER_SOURCE % 200) as u8]);
        socket.bind(&SocketAddr::new(source, 0).into())?;
    }
    match socket.connect(&addr.into()) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::WouldBlock || error.raw_os_error() == Some(115) => {}
        Err(error) => return Err(error),
    }
    let stream = TcpStream::from(socket);
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Sends the upgrade on a socket that has connected.
///
/// # Errors
/// Why it has not.
pub fn upgrade(socket: &mut TcpStream, addr: SocketAddr, token: &str, compression: bool) -> io::Result<()> {
    if let Some(error) = socket.take_error()? {
        return Err(error);
    }
    let offer = if compression { OFFER } else { "" };
    let request = format!(
        "GET /ws HTTP/1.1\r\nHost: {addr}\r\nAuthorization: Bearer {token}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n{offer}\r\n"
    );
    // A fresh socket takes a kilobyte.
    socket.write_all(request.as_bytes())
}

/// Reads on in the answer to the upgrade: true once it is there whole, and is the right one.
///
/// # Errors
/// The end of the connection, or another answer; `PermissionDenied` where no repetition would help.
pub fn read_head(socket: &mut TcpStream, head: &mut Vec<u8>, compression: bool) -> io::Result<bool> {
    let mut buffer = [0; 2048];
    loop {
        match socket.read(&mut buffer) {
            Ok(0) => return Err(io::Error::other(String::from_utf8_lossy(head).into_owned())),
            Ok(count) => head.extend_from_slice(&buffer[..count]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
            Err(error) => return Err(error),
        }
        if let Some(end) = end_of(head) {
            let text = String::from_utf8_lossy(&head[..end]);
            return match text.starts_with("HTTP/1.1 101") && text.contains(ACCEPT) {
                true if compression && !text.contains(AGREED) => {
                    let what = "the server does not compress (server.compression)";
                    Err(io::Error::new(io::ErrorKind::PermissionDenied, what))
                }
                true => Ok(true),
                // Busy is 429 or 503; any other refusal stays one.
                false if text.starts_with("HTTP/1.1 4") && !text.starts_with("HTTP/1.1 429") => {
                    Err(io::Error::new(io::ErrorKind::PermissionDenied, text.into_owned()))
                }
                false => Err(io::Error::other(text.into_owned())),
            };
        }
        if head.len() > HEAD_MAX {
            return Err(io::Error::other("an answer without end"));
        }
    }
}

fn end_of(head: &[u8]) -> Option<usize> {
    head.windows(4).position(|four| four == b"\r\n\r\n").map(|at| at + 4)
}

/// A WebSocket on an upgraded socket; what came after the answer's end belongs to it.
pub fn open(socket: TcpStream, head: &[u8], scenario: &Scenario) -> Box<WebSocket<Stream>> {
    let rest = head[end_of(head).unwrap_or(head.len())..].to_vec();
    let size = (BUFFERS_MAX / scenario.users).clamp(*BUFFER.start(), *BUFFER.end());
    let mut plain = scenario.compression.then(Box::<Plain>::default);
    let rest = match &mut plain {
        // What does not decompress now will not with what follows it.
        Some(plain) => plain.put(&rest).map(|()| Vec::new()).unwrap_or(rest),
        None => rest,
    };
    let stream = Stream { socket, drained: false, received: head.len() as u64, sent: 0, plain };
    Box::new(WebSocket::from_partially_read(stream, rest, Role::Client, Some(socket_config(size))))
}
