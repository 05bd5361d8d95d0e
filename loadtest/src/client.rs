//! One WebSocket connection as a careful client sees it: it holds every frame to the protocol's envelope and accepts
//! no second reply to a command. It does nothing by itself: frames are read while a call waits for one.

use crate::frame::Frame;
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use std::collections::{HashSet, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::http::Request;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, WebSocketConfig};
use tokio_tungstenite::tungstenite::{self, Message};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

/// The longest that a test waits for what must come.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// A connected WebSocket.
pub type Socket = WebSocketStream<TcpStream>;

/// Why there is no reply.
#[derive(Clone, Debug)]
pub enum Error {
    /// The server answered with an error: the `data` of it.
    Refused(Value),
    /// The connection has ended, with this close code (`None`: without a Close frame).
    Closed(Option<u16>),
    /// The server broke the protocol, or was silent for [`PATIENCE`].
    Broken(String),
}

impl Error {
    /// The `code` of a refusal; what else happened otherwise.
    pub fn code(&self) -> String {
        match self {
            Error::Refused(data) => data["code"].as_str().unwrap_or("(no code)").to_owned(),
            other => format!("{other:?}"),
        }
    }
}

/// Small buffers: the default allocates 128 KiB a connection.
pub fn socket_config(buffer_bytes: usize) -> WebSocketConfig {
    WebSocketConfig::default().read_buffer_size(buffer_bytes).write_buffer_size(0)
}

/// The upgrade request, with a token in the header where one is given.
///
/// # Panics
/// If the token is no header value.
pub fn upgrade_request(addr: SocketAddr, token: Option<&str>) -> Request<()> {
    let mut request = format!("ws://{addr}/ws").into_client_request().expect("an address makes a URL");
    if let Some(token) = token {
        let value = format!("Bearer {token}").parse().expect("a token is a header value");
        request.headers_mut().insert("authorization", value);
    }
    request
}

/// Connects a WebSocket, from a given source address where one is named.
///
/// # Errors
/// What tungstenite reports: a refused connection, or the HTTP answer of a refused upgrade.
pub async fn open(
    addr: SocketAddr,
    source: Option<IpAddr>,
    request: Request<()>,
    buffer_bytes: usize,
) -> Result<Socket, tungstenite::Error> {
    let socket = TcpSocket::new_v4()?;
    if let Some(source) = source {
        socket.bind(SocketAddr::new(source, 0))?;
    }
    let stream = socket.connect(addr).await?;
    stream.set_nodelay(true)?;
    let (socket, _) = client_async_with_config(request, stream, Some(socket_config(buffer_bytes))).await?;
    Ok(socket)
}

/// One connection.
pub struct Client {
    socket: Socket,
    /// The data of `auth_success`; `Null` before it.
    pub me: Value,
    next_id: u64,
    /// Commands whose reply is still to come.
    waiting: HashSet<u64>,
    pushes: VecDeque<Frame>,
    /// The close code, once the connection has ended.
    ended: Option<Option<u16>>,
}

impl Client {
    /// Connects with a token in the header and waits for `auth_success`.
    ///
    /// # Errors
    /// What keeps it from that.
    pub async fn connect(addr: SocketAddr, token: &str) -> Result<Client, Error> {
        let mut client = Client::connect_with(addr, upgrade_request(addr, Some(token))).await?;
        client.wait_for_auth().await?;
        Ok(client)
    }

    /// Connects with any upgrade request, and waits for nothing else.
    ///
    /// # Errors
    /// What keeps it from that.
    pub async fn connect_with(addr: SocketAddr, request: Request<()>) -> Result<Client, Error> {
        let opened = timeout(PATIENCE, open(addr, None, request, 4096)).await;
        let opened = opened.map_err(|_| Error::Broken("no answer to the upgrade".into()))?;
        let socket = opened.map_err(|error| Error::Broken(error.to_string()))?;
        Ok(Client {
            socket,
            me: Value::Null,
            next_id: 1,
            waiting: HashSet::new(),
            pushes: VecDeque::new(),
            ended: None,
        })
    }

    /// Waits for `auth_success`, which must be the first push.
    ///
    /// # Errors
    /// If something else comes first.
    pub async fn wait_for_auth(&mut self) -> Result<(), Error> {
        let push = self.push().await?;
        if push.kind != "auth_success" {
            return Err(Error::Broken(format!("{push:?} before auth_success")));
        }
        self.me = push.data;
        Ok(())
    }

    /// Our user id.
    ///
    /// # Panics
    /// Before `auth_success`.
    pub fn user_id(&self) -> u64 {
        self.me["user_id"].as_u64().expect("a user_id in auth_success")
    }

    /// Sends a command and waits for its reply; pushes that come meanwhile are kept, in order.
    ///
    /// # Errors
    /// The server's refusal, or the end of the connection.
    pub async fn call(&mut self, command: &str, data: Value) -> Result<Frame, Error> {
        let id = self.send(command, data).await?;
        self.reply(id).await
    }

    /// Sends a command; its reply is for [`Client::reply`].
    ///
    /// # Errors
    /// The end of the connection.
    pub async fn send(&mut self, command: &str, data: Value) -> Result<u64, Error> {
        let id = self.next_id;
        self.next_id += 1;
        self.waiting.insert(id);
        self.send_text(json!({"type": command, "id": id, "data": data}).to_string()).await?;
        Ok(id)
    }

    /// Sends a text frame as it is.
    ///
    /// # Errors
    /// The end of the connection.
    pub async fn send_text(&mut self, text: String) -> Result<(), Error> {
        self.send_raw(Message::text(text)).await
    }

    /// Sends any message.
    ///
    /// # Errors
    /// The end of the connection.
    pub async fn send_raw(&mut self, message: Message) -> Result<(), Error> {
        match timeout(PATIENCE, self.socket.send(message)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(self.drain_to_end().await),
            Err(_) => Err(Error::Broken("the server does not read".into())),
        }
    }

    /// After a failed write: what was read before the end says why it came.
    async fn drain_to_end(&mut self) -> Error {
        loop {
            match self.frame().await {
                Ok(frame) if frame.id.is_none() => self.pushes.push_back(frame),
                Ok(_) => {}
                Err(error) => return error,
            }
        }
    }

    /// Waits for the reply to the command with this id.
    ///
    /// # Errors
    /// The server's refusal, or the end of the connection.
    pub async fn reply(&mut self, id: u64) -> Result<Frame, Error> {
        loop {
            let frame = self.frame().await?;
            let Some(of) = frame.id.clone() else {
                self.pushes.push_back(frame);
                continue;
            };
            if !of.as_u64().is_some_and(|of| self.waiting.remove(&of)) {
                return Err(Error::Broken(format!("a reply that nobody waits for: {frame:?}")));
            }
            if of.as_u64() != Some(id) {
                return Err(Error::Broken(format!("waiting for the reply to {id}: {frame:?}")));
            }
            return if frame.kind == "error" { Err(Error::Refused(frame.data)) } else { Ok(frame) };
        }
    }

    /// The next reply of whatever command.
    ///
    /// # Errors
    /// The end of the connection; errors are frames here.
    pub async fn any_reply(&mut self) -> Result<Frame, Error> {
        loop {
            let frame = self.frame().await?;
            match frame.id.as_ref().map(Value::as_u64) {
                None => self.pushes.push_back(frame),
                Some(Some(id)) if self.waiting.remove(&id) => return Ok(frame),
                Some(_) => return Err(Error::Broken(format!("a reply that nobody waits for: {frame:?}"))),
            }
        }
    }

    /// The next push, in order.
    ///
    /// # Errors
    /// The end of the connection.
    pub async fn push(&mut self) -> Result<Frame, Error> {
        if let Some(push) = self.pushes.pop_front() {
            return Ok(push);
        }
        let frame = self.frame().await?;
        if frame.id.is_some() {
            return Err(Error::Broken(format!("a reply that nobody waits for: {frame:?}")));
        }
        Ok(frame)
    }

    /// The next push of that type; others before it are dropped.
    ///
    /// # Errors
    /// The end of the connection.
    pub async fn push_of(&mut self, kind: &str) -> Result<Frame, Error> {
        loop {
            let push = self.push().await?;
            if push.kind == kind {
                return Ok(push);
            }
        }
    }

    /// The pushes that have come so far: a `ping` is answered after everything before it, on one connection.
    ///
    /// # Errors
    /// The end of the connection.
    pub async fn pushes_so_far(&mut self) -> Result<Vec<Frame>, Error> {
        self.call("ping", json!({})).await?;
        Ok(self.pushes.drain(..).collect())
    }

    /// Pushes that have come before the last reply and have not been asked for yet.
    pub fn queued(&self) -> impl Iterator<Item = &Frame> {
        self.pushes.iter()
    }

    /// The next text frame, as it came.
    ///
    /// # Errors
    /// The end of the connection.
    pub async fn text(&mut self) -> Result<String, Error> {
        if let Some(code) = self.ended {
            return Err(Error::Closed(code));
        }
        loop {
            let Ok(next) = timeout(PATIENCE, self.socket.next()).await else {
                return Err(Error::Broken(format!("nothing from the server within {PATIENCE:?}")));
            };
            match next {
                Some(Ok(Message::Text(text))) => return Ok(text.as_str().to_owned()),
                Some(Ok(Message::Close(frame))) => self.ended = Some(frame.map(|frame| frame.code.into())),
                Some(Ok(Message::Binary(_))) => return Err(Error::Broken("a binary frame".into())),
                Some(Ok(_)) => {}
                Some(Err(_)) | None => {
                    let code = self.ended.unwrap_or(None);
                    self.ended = Some(code);
                    return Err(Error::Closed(code));
                }
            }
        }
    }

    async fn frame(&mut self) -> Result<Frame, Error> {
        let text = self.text().await?;
        Frame::parse(&text).map_err(Error::Broken)
    }

    /// Reads to the end of the connection and answers its close code.
    ///
    /// # Errors
    /// If the end does not come.
    pub async fn close_code(&mut self) -> Result<Option<u16>, Error> {
        loop {
            match self.text().await {
                Ok(_) => {}
                Err(Error::Closed(code)) => return Ok(code),
                Err(other) => return Err(other),
            }
        }
    }

    /// Sends a Close frame and waits for the server's.
    ///
    /// # Errors
    /// If the end does not come.
    pub async fn close(mut self, code: u16) -> Result<Option<u16>, Error> {
        let frame = CloseFrame { code: code.into(), reason: "".into() };
        let _ = self.socket.close(Some(frame)).await;
        self.close_code().await
    }

    /// The TCP socket beneath, for bytes that no WebSocket library would write.
    pub fn stream(&mut self) -> &mut TcpStream {
        self.socket.get_mut()
    }
}
