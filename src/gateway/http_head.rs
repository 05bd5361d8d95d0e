//! The head of the first request on a connection: is it a WebSocket, somebody else's, or nothing that we answer.
//!
//! Only `/ws` (and `/echo`) is judged to the end here. Requests for anything else are handed on once it is clear what
//! they are; whoever takes them judges them again.

mod origin;
#[cfg(test)]
mod tests;

use base64::Engine as _;
use httparse::{EMPTY_HEADER, Header};
use origin::Authority;
use tungstenite::handshake::derive_accept_key;
use tungstenite::http::StatusCode;
use veza_engine::deflate::Window;
use veza_engine::wire::ErrorCode;
use veza_engine::wire::json::object;

use super::extensions;

/// Bytes in a head; beyond: 431.
pub const HEAD_BYTES_MAX: usize = 16 << 10;
/// Header lines in a head; beyond: 431.
pub const HEADERS_MAX: usize = 64;
/// The subprotocol that is answered if offered.
pub const SUBPROTOCOL: &str = "veza.v1.json";

/// What a head asks for.
#[derive(Debug)]
pub enum Head {
    /// More bytes are needed.
    Incomplete,
    /// A WebSocket for the chat.
    WebSocket(Upgrade),
    /// A WebSocket whose messages are to be returned.
    Echo(Upgrade),
    /// Not for the gateway.
    Other,
    /// To be refused with [`error_response`].
    Bad {
        /// HTTP status.
        status: u16,
        /// For people.
        reason: &'static str,
    },
}

/// An acceptable upgrade.
#[derive(Debug)]
pub struct Upgrade {
    /// The complete answer, status 101.
    pub response: Vec<u8>,
    /// From `Authorization: Bearer`, else from `?token=`. Not verified; may be empty.
    pub token: Option<String>,
    /// What of compression was agreed to.
    pub window: Window,
    /// Bytes of the head; what follows are frames.
    pub head_len: usize,
}

/// The operator's part of the rules.
#[derive(Clone, Debug, Default)]
pub struct HeadPolicy {
    /// `Origin` values that are accepted beside the server's own.
    pub allowed_origins: Vec<String>,
    /// `/echo` exists.
    pub echo_endpoint: bool,
    /// permessage-deflate is agreed to.
    pub compression: bool,
}

type Result<T> = std::result::Result<T, (u16, &'static str)>;

/// Judges the head at the start of `bytes`. Meant to be called once [`head_end`] has found its end, or when more than
/// [`HEAD_BYTES_MAX`] bytes came without one.
pub fn parse(policy: &HeadPolicy, bytes: &[u8]) -> Head {
    let Some(end) = head_end(bytes, 0) else {
        return if bytes.len() > HEAD_BYTES_MAX {
            bad((431, "the request head is too large"))
        } else {
            Head::Incomplete
        };
    };
    if end > HEAD_BYTES_MAX {
        return bad((431, "the request head is too large"));
    }
    judge(policy, &bytes[..end]).unwrap_or_else(bad)
}

/// Where the head that begins at 0 ends, its empty line included, looking from `from` on: an end that straddles it is
/// found from three bytes before what is new. Ends of lines that are not `\r\n` count too, so that such a head is
/// refused at once and not waited for.
pub fn head_end(bytes: &[u8], from: usize) -> Option<usize> {
    let mut at = from;
    while let Some(found) = bytes.get(at..)?.iter().position(|byte| *byte == b'\n') {
        at += found + 1;
        match bytes[at..] {
            [b'\n', ..] => return Some(at + 1),
            [b'\r', b'\n', ..] => return Some(at + 2),
            _ => {}
        }
    }
    None
}

/// An HTTP error as RFC 9457 has it, after which the connection is to be closed.
pub fn error_response(status: u16, code: &str, message: &str) -> Vec<u8> {
    let title = StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason()).unwrap_or("Error");
    let retryable = ErrorCode::ALL.into_iter().any(|known| known.name() == code && known.retryable());
    let body = object(|body| {
        body.text("type", &format!("/docs#{code}"))
            .text("title", title)
            .uint("status", status.into())
            .text("detail", message)
            .text("code", code)
            .flag("retryable", retryable)
            .end();
    });
    let extra = match status {
        401 => "WWW-Authenticate: Bearer error=\"invalid_token\"\r\n",
        405 => "Allow: GET\r\n",
        426 => "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n",
        429 | 503 if retryable => "Retry-After: 1\r\n",
        _ => "",
    };
    // An Upgrade header must be named in Connection (RFC 9110, 7.8).
    let connection = if status == 426 { "close, Upgrade" } else { "close" };
    let mut response = format!(
        "HTTP/1.1 {status} {title}\r\nContent-Type: application/problem+json\r\nContent-Length: {}\r\n\
         Cache-Control: no-store\r\nConnection: {connection}\r\n{extra}\r\n",
        body.len()
    )
    .into_bytes();
    response.extend_from_slice(&body);
    response
}

fn bad((status, reason): (u16, &'static str)) -> Head {
    Head::Bad { status, reason }
}

/// A request whose head has the right form.
struct Request<'a> {
    method: &'a str,
    is_http_11: bool,
    /// From the path on.
    target: &'a str,
    headers: Headers<'a>,
    /// From `Host`; HTTP/1.0 may be without.
    host: Option<Authority<'a>>,
}

struct Headers<'a>(&'a [Header<'a>]);

fn judge(policy: &HeadPolicy, head: &[u8]) -> Result<Head> {
    let mut lines = [EMPTY_HEADER; HEADERS_MAX];
    let request = read(head, &mut lines)?;
    let (path, query) = request.target.split_once('?').unwrap_or((request.target, ""));
    match path {
        "/ws" => Ok(Head::WebSocket(upgrade(policy, &request, query, head.len())?)),
        "/echo" if policy.echo_endpoint => Ok(Head::Echo(upgrade(policy, &request, query, head.len())?)),
        _ => Ok(Head::Other),
    }
}

fn read<'a>(head: &'a [u8], lines: &'a mut [Header<'a>; HEADERS_MAX]) -> Result<Request<'a>> {
    // Lenient parsers end a line at a bare LF, strict ones do not: what they disagree about is refused.
    if head.iter().enumerate().any(|(at, byte)| *byte == b'\n' && (at == 0 || head[at - 1] != b'\r')) {
        return Err((400, "a line does not end with CR LF"));
    }
    let mut request = httparse::Request::new(lines);
    match request.parse(head) {
        Ok(httparse::Status::Complete(_)) => {}
        Ok(httparse::Status::Partial) => return Err((400, "malformed request")),
        Err(httparse::Error::TooManyHeaders) => return Err((431, "too many headers")),
        Err(httparse::Error::Version) => return Err((400, "only HTTP/1.1 is spoken here")),
        Err(_) => return Err((400, "malformed request")),
    }
    let (Some(method), Some(target), Some(version)) = (request.method, request.path, request.version) else {
        return Err((400, "malformed request"));
    };
    let headers = Headers(request.headers);
    let is_http_11 = version == 1;
    let host = headers.one("Host", "more than one Host")?;
    if is_http_11 && host.is_none() {
        return Err((400, "no Host"));
    }
    if headers.all("Content-Length").next().is_some() && headers.all("Transfer-Encoding").next().is_some() {
        return Err((400, "both Content-Length and Transfer-Encoding"));
    }
    let host = match host {
        Some(host) => Some(Authority::parse(host).ok_or((400, "malformed Host"))?),
        None => None,
    };
    Ok(Request { method, is_http_11, target: origin_form(target, host)?, headers, host })
}

/// The target from its path on. A target with a scheme must name the same server as `Host`.
fn origin_form<'a>(target: &'a str, host: Option<Authority<'_>>) -> Result<&'a str> {
    let lower = |scheme: &str| target.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme));
    let (scheme, port) = match () {
        () if lower("http://") => ("http://", 80),
        () if lower("https://") => ("https://", 443),
        () => return Ok(target),
    };
    let rest = &target[scheme.len()..];
    let path_at = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let named = Authority::parse(&rest[..path_at]).ok_or((400, "malformed request target"))?;
    if !host.is_some_and(|host| host.is_same(named, port)) {
        return Err((400, "the request target names another server than Host"));
    }
    Ok(&rest[path_at..])
}

fn upgrade(policy: &HeadPolicy, request: &Request<'_>, query: &str, head_len: usize) -> Result<Upgrade> {
    let headers = &request.headers;
    if !request.is_http_11 {
        return Err((400, "a WebSocket needs HTTP/1.1"));
    }
    if request.method != "GET" {
        return Err((405, "a WebSocket is opened with GET"));
    }
    if headers.all("Content-Length").chain(headers.all("Transfer-Encoding")).next().is_some() {
        return Err((400, "an upgrade request has no body"));
    }
    if !headers.list("Connection").any(|option| option.eq_ignore_ascii_case("upgrade"))
        || !headers.list("Upgrade").any(|protocol| protocol.eq_ignore_ascii_case("websocket"))
    {
        return Err((426, "this is a WebSocket"));
    }
    if headers.one("Sec-WebSocket-Version", "more than one Sec-WebSocket-Version")? != Some("13") {
        return Err((426, "only WebSocket version 13 is spoken here"));
    }
    let key = headers.one("Sec-WebSocket-Key", "more than one Sec-WebSocket-Key")?.unwrap_or_default();
    if !base64::prelude::BASE64_STANDARD.decode(key).is_ok_and(|nonce| nonce.len() == 16) {
        return Err((400, "Sec-WebSocket-Key must be 16 bytes in base64"));
    }
    if let Some(origin) = headers.one("Origin", "more than one Origin")?
        && !origin::is_allowed(origin, request.host, &policy.allowed_origins)
    {
        return Err((403, "this Origin may not connect"));
    }
    let authorization = headers.one("Authorization", "more than one Authorization")?;
    let token = authorization.and_then(bearer).map(str::to_owned).or_else(|| query_token(query));
    let protocol = headers.list("Sec-WebSocket-Protocol").any(|offer| offer == SUBPROTOCOL);
    let offers = headers.all("Sec-WebSocket-Extensions").filter_map(|line| std::str::from_utf8(line).ok());
    let agreed = if policy.compression { extensions::negotiate(offers) } else { None };
    let response = switching_protocols(key, protocol, agreed.as_ref().map(|agreed| &*agreed.answer));
    Ok(Upgrade { response, token, window: agreed.map_or(Window::NONE, |agreed| agreed.window), head_len })
}

fn switching_protocols(key: &str, protocol: bool, extensions: Option<&str>) -> Vec<u8> {
    let accept = derive_accept_key(key.as_bytes());
    let mut response = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\n"
    );
    if protocol {
        response.push_str("Sec-WebSocket-Protocol: ");
        response.push_str(SUBPROTOCOL);
        response.push_str("\r\n");
    }
    if let Some(extensions) = extensions {
        response.push_str("Sec-WebSocket-Extensions: ");
        response.push_str(extensions);
        response.push_str("\r\n");
    }
    response.push_str("\r\n");
    response.into_bytes()
}

impl<'a> Headers<'a> {
    fn all(&self, name: &'static str) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        self.0.iter().filter(move |header| header.name.eq_ignore_ascii_case(name)).map(|header| header.value)
    }

    /// The value of a header that may come once.
    fn one(&self, name: &'static str, twice: &'static str) -> Result<Option<&'a str>> {
        let mut values = self.all(name);
        let Some(value) = values.next() else { return Ok(None) };
        if values.next().is_some() {
            return Err((400, twice));
        }
        std::str::from_utf8(value).map(Some).map_err(|_| (400, "malformed header"))
    }

    /// The items of a header that is a list, over all of its lines.
    fn list(&self, name: &'static str) -> impl Iterator<Item = &'a str> + use<'a> {
        self.all(name).filter_map(|line| std::str::from_utf8(line).ok()).flat_map(|line| line.split(',').map(str::trim))
    }
}

fn bearer(authorization: &str) -> Option<&str> {
    let (scheme, token) = authorization.split_once(' ').unwrap_or((authorization, ""));
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

fn query_token(query: &str) -> Option<String> {
    query.split('&').find_map(|pair| pair.strip_prefix("token=")).map(percent_decoded)
}

fn percent_decoded(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, behind @ ..] = rest {
        rest = behind;
        let digit = |at: usize| behind.get(at).and_then(|byte| char::from(*byte).to_digit(16));
        match (first, digit(0), digit(1)) {
            (b'%', Some(high), Some(low)) => {
                out.push((high * 16 + low) as u8);
                rest = &behind[2..];
            }
            _ => out.push(*first),
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}
