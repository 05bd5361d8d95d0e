//! A small HTTP/1.1 client, its own so that nothing hides what the server really answers.

use serde_json::Value;
use std::io::{self, Read as _, Write as _};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// The longest that an answer may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// One response.
#[derive(Debug)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body, decoded where it was chunked.
    pub body: Vec<u8>,
}

impl Response {
    /// The first header of that (lower-case) name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The body as JSON; `Null` if it is not JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }

    /// Takes a response apart that has been read to its end.
    pub fn parse(bytes: &[u8]) -> io::Result<Response> {
        let broken = || io::Error::new(io::ErrorKind::InvalidData, String::from_utf8_lossy(bytes).into_owned());
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").ok_or_else(broken)?;
        let head = std::str::from_utf8(&bytes[..end]).map_err(|_| broken())?;
        let mut lines = head.split("\r\n");
        let status = lines.next().and_then(|line| line.split(' ').nth(1)).and_then(|code| code.parse().ok());
        let headers = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
            .collect();
        let mut response = Response { status: status.ok_or_else(broken)?, headers, body: bytes[end + 4..].to_vec() };
        if response.header("transfer-encoding") == Some("chunked") {
            response.body = unchunk(&response.body).ok_or_else(broken)?;
        } else if let Some(length) = response.header("content-length").and_then(|text| text.parse().ok())
            && response.body.len() < length
        {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(response)
    }
}

fn unchunk(mut rest: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let line = rest.windows(2).position(|two| two == b"\r\n")?;
        let size = usize::from_str_radix(std::str::from_utf8(&rest[..line]).ok()?.split(';').next()?, 16).ok()?;
        rest = &rest[line + 2..];
        if size == 0 {
            return Some(body);
        }
        body.extend_from_slice(rest.get(..size)?);
        rest = rest.get(size + 2..)?;
    }
}

fn head(method: &str, addr: SocketAddr, path: &str, token: Option<&str>, length: usize) -> String {
    let authorization = token.map_or(String::new(), |token| format!("Authorization: Bearer {token}\r\n"));
    format!(
        "{method} {path} HTTP/1.1\r\nHost: {addr}\r\n{authorization}Content-Type: application/json\r\n\
         Content-Length: {length}\r\nConnection: close\r\n\r\n"
    )
}

/// GET without waiting on a runtime, for starting servers.
pub fn get_blocking(addr: SocketAddr, path: &str) -> io::Result<Response> {
    get_within(addr, path, PATIENCE)
}

/// The same, for callers to whom a late answer is none.
pub fn get_within(addr: SocketAddr, path: &str, patience: Duration) -> io::Result<Response> {
    let mut stream = std::net::TcpStream::connect_timeout(&addr, patience)?;
    stream.set_read_timeout(Some(patience))?;
    stream.write_all(head("GET", addr, path, None, 0).as_bytes())?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes)?;
    Response::parse(&bytes)
}

/// GET.
pub async fn get(addr: SocketAddr, path: &str, token: Option<&str>) -> io::Result<Response> {
    let bytes = raw(addr, head("GET", addr, path, token, 0).as_bytes()).await?;
    Response::parse(&bytes)
}

/// POST of a body as it is.
pub async fn post_bytes(addr: SocketAddr, path: &str, token: Option<&str>, body: &[u8]) -> io::Result<Response> {
    let mut request = head("POST", addr, path, token, body.len()).into_bytes();
    request.extend_from_slice(body);
    Response::parse(&raw(addr, &request).await?)
}

/// POST of JSON.
pub async fn post(addr: SocketAddr, path: &str, token: Option<&str>, body: &Value) -> io::Result<Response> {
    post_bytes(addr, path, token, body.to_string().as_bytes()).await
}

/// A command over HTTP.
pub async fn command(addr: SocketAddr, token: &str, command: &str, data: &Value) -> io::Result<Response> {
    post(addr, &format!("/api/v1/{command}"), Some(token), data).await
}

/// Sends bytes and reads until the server ends the connection (an end by reset counts as one too).
pub async fn raw(addr: SocketAddr, request: &[u8]) -> io::Result<Vec<u8>> {
    let exchange = async {
        let mut stream = TcpStream::connect(addr).await?;
        // The server may answer and close before it has read everything.
        let written = stream.write_all(request).await;
        let mut bytes = Vec::new();
        match stream.read_to_end(&mut bytes).await {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {}
            Err(error) => return Err(error),
        }
        if bytes.is_empty() {
            written?;
        }
        Ok(bytes)
    };
    tokio::time::timeout(PATIENCE, exchange).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_responses_apart() {
        let plain = Response::parse(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Y: z\r\n\r\n{}").expect("whole");
        assert_eq!((plain.status, plain.header("x-y"), plain.body.as_slice()), (200, Some("z"), b"{}".as_slice()));
        let chunked = b"HTTP/1.1 404 No\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n";
        assert_eq!(Response::parse(chunked).expect("whole").body, b"abcde");
        assert!(Response::parse(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nab").is_err());
    }
}
