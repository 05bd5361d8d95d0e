//! A connection that does one thing after the other, for what is not load: rooms before it, histories after it.

use crate::client::{socket_config, upgrade_request};
use serde_json::{Value, json};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};
use tungstenite::{Error, HandshakeError, Message, WebSocket};

/// The longest that an answer may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// Pause before a connection that has failed is made anew.
const AGAIN: Duration = Duration::from_millis(50);

/// A connection of one user, made anew where it ends: its commands are such as may be repeated.
pub struct Call {
    addr: SocketAddr,
    token: String,
    socket: Option<WebSocket<TcpStream>>,
    next_id: u64,
}

/// Why there is no reply.
enum Failure {
    /// Another connection may bring it.
    Connection(String),
    /// None will.
    Refused(String),
}

impl Call {
    /// For one user; it connects with the first command.
    pub fn new(addr: SocketAddr, token: String) -> Call {
        Call { addr, token, socket: None, next_id: 1 }
    }

    /// Sends a command and waits for the `data` of its reply. What may be repeated is, for a minute.
    ///
    /// # Errors
    /// A refusal, or the last failure.
    pub fn call(&mut self, command: &str, data: &Value) -> Result<Value, String> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let (failure, pause) = match self.once(command, data) {
                Ok(reply) if reply["type"] != "error" => return Ok(reply["data"].clone()),
                Ok(reply) => {
                    let error = &reply["data"];
                    let text = format!("{command} {data}: {error}");
                    if error["retryable"] != true {
                        return Err(text);
                    }
                    (text, Duration::from_millis(error["retry_after_ms"].as_u64().unwrap_or(100).max(1)))
                }
                Err(Failure::Refused(reason)) => return Err(reason),
                Err(Failure::Connection(reason)) => {
                    self.socket = None;
                    (format!("{command}: {reason}"), AGAIN)
                }
            };
            if Instant::now() > deadline {
                return Err(failure);
            }
            std::thread::sleep(pause);
        }
    }

    fn once(&mut self, command: &str, data: &Value) -> Result<Value, Failure> {
        let lost = |error: Error| Failure::Connection(error.to_string());
        let id = self.next_id;
        self.next_id += 1;
        let socket = match &mut self.socket {
            Some(socket) => socket,
            none => none.insert(connect(self.addr, &self.token)?),
        };
        let text = json!({"type": command, "id": id, "data": data}).to_string();
        socket.send(Message::text(text)).map_err(lost)?;
        loop {
            let Message::Text(text) = socket.read().map_err(lost)? else { continue };
            if crate::frame::reply_id_of(&text) == Some(id) {
                return serde_json::from_str(&text).map_err(|error| Failure::Refused(format!("{error}: {text}")));
            }
        }
    }
}

fn connect(addr: SocketAddr, token: &str) -> Result<WebSocket<TcpStream>, Failure> {
    let io = |error: std::io::Error| Failure::Connection(format!("{addr}: {error}"));
    let stream = TcpStream::connect_timeout(&addr, PATIENCE).map_err(io)?;
    stream.set_read_timeout(Some(PATIENCE)).map_err(io)?;
    stream.set_nodelay(true).map_err(io)?;
    let request = upgrade_request(addr, Some(token));
    match tungstenite::client::client_with_config(request, stream, Some(socket_config(16 << 10))) {
        Ok((socket, _)) => Ok(socket),
        // Full, or not ready yet.
        Err(HandshakeError::Failure(Error::Http(answer))) if answer.status() != 503 => {
            let hint = if answer.status() == 401 { " (is it the server's security.jwt_secret?)" } else { "" };
            Err(Failure::Refused(format!("{addr} does not let us in: {}{hint}", answer.status())))
        }
        Err(error) => Err(Failure::Connection(format!("{addr}: {error}"))),
    }
}
