//! A WebSocket by hand, for frames that no library would write, and for peers that do not behave.

use std::io;
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use crate::client::PATIENCE;

/// Opcodes of RFC 6455.
pub mod opcode {
    /// Continuation of a message.
    pub const CONTINUATION: u8 = 0;
    /// Text.
    pub const TEXT: u8 = 1;
    /// Binary.
    pub const BINARY: u8 = 2;
    /// Close.
    pub const CLOSE: u8 = 8;
    /// Ping.
    pub const PING: u8 = 9;
    /// Pong.
    pub const PONG: u8 = 10;
}

/// The final-fragment bit of a frame's first byte.
pub const FIN: u8 = 0x80;

/// A connection past its upgrade.
pub struct Raw {
    /// The socket.
    pub stream: TcpStream,
}

impl Raw {
    /// Connects with a token in the header; the receive buffer is as small as asked, where it matters.
    ///
    /// # Errors
    /// If the server does not answer with 101.
    pub async fn connect(addr: SocketAddr, token: Option<&str>, receive_buffer: Option<u32>) -> io::Result<Raw> {
        Ok(Raw::connect_with(addr, token, receive_buffer, "").await?.0)
    }

    /// The same with further header lines, each with its line end; gives the answer's head too.
    ///
    /// # Errors
    /// If the server does not answer with 101.
    pub async fn connect_with(
        addr: SocketAddr,
        token: Option<&str>,
        receive_buffer: Option<u32>,
        headers: &str,
    ) -> io::Result<(Raw, String)> {
        let socket = TcpSocket::new_v4()?;
        if let Some(size) = receive_buffer {
            socket.set_recv_buffer_size(size)?;
        }
        let mut stream = socket.connect(addr).await?;
        let authorization = token.map_or(String::new(), |token| format!("Authorization: Bearer {token}\r\n"));
        let request = format!(
            "GET /ws HTTP/1.1\r\nHost: {addr}\r\n{authorization}{headers}Upgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await?;
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(timeout(PATIENCE, stream.read_u8()).await??);
        }
        let head = String::from_utf8_lossy(&head);
        if !head.starts_with("HTTP/1.1 101") || !head.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=") {
            return Err(io::Error::other(head.into_owned()));
        }
        Ok((Raw { stream }, head.into_owned()))
    }

    /// Sends a masked frame with that first byte.
    ///
    /// # Errors
    /// The end of the connection.
    pub async fn send(&mut self, first: u8, payload: &[u8]) -> io::Result<()> {
        self.stream.write_all(&frame(first, payload)).await
    }

    /// The next frame: opcode and payload.
    ///
    /// # Errors
    /// The end of the connection.
    pub async fn read(&mut self) -> io::Result<(u8, Vec<u8>)> {
        let (first, payload) = self.read_frame().await?;
        Ok((first & 0x0f, payload))
    }

    /// The next frame: its whole first byte, and payload.
    ///
    /// # Errors
    /// The end of the connection.
    pub async fn read_frame(&mut self) -> io::Result<(u8, Vec<u8>)> {
        timeout(PATIENCE, self.read_forever()).await?
    }

    async fn read_forever(&mut self) -> io::Result<(u8, Vec<u8>)> {
        let first = self.stream.read_u8().await?;
        let second = self.stream.read_u8().await?;
        let length = match second {
            126 => u64::from(self.stream.read_u16().await?),
            127 => self.stream.read_u64().await?,
            short => u64::from(short),
        };
        let mut payload = vec![0; usize::try_from(length).map_err(io::Error::other)?];
        self.stream.read_exact(&mut payload).await?;
        Ok((first, payload))
    }

    /// Reads on, answering nothing, and gives the code of the server's Close frame; `None` if the end comes without.
    ///
    /// # Errors
    /// If the end does not come.
    pub async fn close_code(&mut self) -> io::Result<Option<u16>> {
        loop {
            match self.read().await {
                Ok((opcode::CLOSE, payload)) => {
                    return Ok(payload.first_chunk().map(|code: &[u8; 2]| u16::from_be_bytes(*code)));
                }
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::TimedOut => return Err(error),
                Err(_) => return Ok(None),
            }
        }
    }
}

/// A masked frame; the mask is zero, so that the payload goes as it is.
pub fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    match payload.len() {
        length @ 0..126 => bytes.push(0x80 | length as u8),
        length @ 126..65_536 => {
            bytes.push(0x80 | 126);
            bytes.extend_from_slice(&(length as u16).to_be_bytes());
        }
        length => {
            bytes.push(0x80 | 127);
            bytes.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    bytes.extend_from_slice(&[0; 4]);
    bytes.extend_from_slice(payload);
    bytes
}
