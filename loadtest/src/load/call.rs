//! A connection that does one thing after the other, for what is not load: rooms before it, histories after it.

use crate::client::{socket_config, upgrade_request};
use serde_json::{Value, json};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;
use tungstenite::{Message, WebSocket};

/// The longest that an answer may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// A connection of one user.
pub struct Call {
    socket: WebSocket<TcpStream>,
    next_id: u64,
}

impl Call {
    /// Connects.
    ///
    /// # Errors
    /// What the server answered instead.
    pub fn connect(addr: SocketAddr, token: &str) -> Result<Call, String> {
        let stream = TcpStream::connect_timeout(&addr, PATIENCE).map_err(|error| format!("{addr}: {error}"))?;
        stream.set_read_timeout(Some(PATIENCE)).and_then(|()| stream.set_nodelay(true)).map_err(|e| e.to_string())?;
        let request = upgrade_request(addr, Some(token));
        let (socket, _) = tungstenite::client::client_with_config(request, stream, Some(socket_config(16 << 10)))
            .map_err(|error| format!("{addr} does not let us in: {error}"))?;
        Ok(Call { socket, next_id: 1 })
    }

    /// Sends a command and waits for the `data` of its reply. A refusal that may be repeated is.
    ///
    /// # Errors
    /// Another refusal, or the end of the connection.
    pub fn call(&mut self, command: &str, data: &Value) -> Result<Value, String> {
        let deadline = std::time::Instant::now() + PATIENCE;
        loop {
            let reply = self.once(command, data)?;
            if reply["type"] != "error" {
                return Ok(reply["data"].clone());
            }
            let error = &reply["data"];
            if error["retryable"] != true || std::time::Instant::now() > deadline {
                return Err(format!("{command} {data}: {error}"));
            }
            std::thread::sleep(Duration::from_millis(error["retry_after_ms"].as_u64().unwrap_or(100).max(1)));
        }
    }

    fn once(&mut self, command: &str, data: &Value) -> Result<Value, String> {
        let id = self.next_id;
        self.next_id += 1;
        let text = json!({"type": command, "id": id, "data": data}).to_string();
        self.socket.send(Message::text(text)).map_err(|error| format!("{command}: {error}"))?;
        loop {
            let message = self.socket.read().map_err(|error| format!("{command}: {error}"))?;
            let Message::Text(text) = message else { continue };
            if crate::frame::reply_id_of(&text) == Some(id) {
                return serde_json::from_str(&text).map_err(|error| format!("{command}: {error}"));
            }
        }
    }
}
