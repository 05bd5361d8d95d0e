//! Connections of the API: sockets that shards hand over with what they have read, and those of the internal port.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::Router;
use hyper::body::Incoming;
use hyper::service::Service;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::time::Sleep;

/// A socket that is not for `/ws`: the stream (non-blocking), the bytes read so far, the peer.
pub type Handed = (std::net::TcpStream, Vec<u8>, SocketAddr);

/// Sockets on their way from the shards; beyond: the shard answers 503 by itself.
pub const HANDED_MAX: usize = 1024;

/// HTTP connections served at a time; beyond: new ones wait in the queues above and in the kernel.
const CONNECTIONS_MAX: usize = 4096;

/// Time for a request's head, which is also how long an unused connection is kept.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// Time that a client may take nothing of a response; beyond: the connection is reset.
const STALL_TIMEOUT: Duration = Duration::from_secs(30);

/// Largest request head in bytes; beyond: 431.
const HEAD_BYTES_MAX: usize = 16 << 10;

/// Pause after a failed `accept`, which at the descriptor limit would fail again at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The address of a connection's peer, as the socket knows it.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub SocketAddr);

/// Ends with the channel's end, or when `stop` becomes true; connections finish the request that they are at.
pub async fn serve_handed(router: Router, mut sockets: mpsc::Receiver<Handed>, mut stop: watch::Receiver<bool>) {
    let server = Server::new(router, stop.clone());
    loop {
        let permit = server.permit().await;
        let next = tokio::select! {
            next = sockets.recv() => next,
            () = stopped(&mut stop) => None,
        };
        let Some((stream, read, peer)) = next else { break };
        match TcpStream::from_std(stream) {
            Ok(stream) => server.spawn(stream, read, peer, permit),
            Err(error) => tracing::warn!(%error, "a socket that was handed over cannot be used"),
        }
    }
    server.finished().await;
}

/// The same for connections of an own listener.
pub async fn serve_listener(router: Router, listener: TcpListener, mut stop: watch::Receiver<bool>) {
    let server = Server::new(router, stop.clone());
    loop {
        let permit = server.permit().await;
        let next = tokio::select! {
            next = listener.accept() => next,
            () = stopped(&mut stop) => break,
        };
        match next {
            Ok((stream, peer)) => server.spawn(stream, Vec::new(), peer, permit),
            Err(error) => {
                tracing::warn!(%error, "accept failed on the internal port");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    server.finished().await;
}

/// Waits for the order to stop, or for the end of whoever could give it.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

struct Server {
    service: TowerToHyperService<Router>,
    places: Arc<Semaphore>,
    stop: watch::Receiver<bool>,
}

impl Server {
    fn new(router: Router, stop: watch::Receiver<bool>) -> Server {
        let service = TowerToHyperService::new(router);
        Server { service, places: Arc::new(Semaphore::new(CONNECTIONS_MAX)), stop }
    }

    async fn permit(&self) -> OwnedSemaphorePermit {
        self.places.clone().acquire_owned().await.expect("never closed")
    }

    /// Waits for all connections.
    async fn finished(&self) {
        let _ = self.places.acquire_many(CONNECTIONS_MAX as u32).await;
    }

    fn spawn(&self, stream: TcpStream, read: Vec<u8>, peer: SocketAddr, permit: OwnedSemaphorePermit) {
        let (service, mut stop) = (self.service.clone(), self.stop.clone());
        // Without it a small answer may wait for the peer's acknowledgement; a socket that refuses still works.
        let _ = stream.set_nodelay(true);
        tokio::spawn(async move {
            let _permit = permit;
            let service = hyper::service::service_fn(move |mut request: hyper::Request<Incoming>| {
                request.extensions_mut().insert(Peer(peer));
                service.call(request)
            });
            let io = TokioIo::new(Socket { stream, read, at: 0, stalled: None });
            let connection = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEAD_TIMEOUT)
                .max_buf_size(HEAD_BYTES_MAX)
                .serve_connection(io, service);
            let mut connection = std::pin::pin!(connection);
            tokio::select! {
                // What goes wrong on a connection is the peer's affair and ends only this connection.
                result = connection.as_mut() => { let _ = result; }
                () = stopped(&mut stop) => {
                    connection.as_mut().graceful_shutdown();
                    let _ = connection.await;
                }
            }
        });
    }
}

/// A stream whose first bytes were read by somebody else, and whose peer must take what is written to it.
struct Socket {
    stream: TcpStream,
    read: Vec<u8>,
    at: usize,
    stalled: Option<Pin<Box<Sleep>>>,
}

impl Socket {
    /// Turns a write that waits for longer than [`STALL_TIMEOUT`] into an error.
    fn watch_stall(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(tokio::time::sleep(STALL_TIMEOUT)));
        ready!(stalled.as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for Socket {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.at == self.read.len() {
            return Pin::new(&mut self.stream).poll_read(cx, buf);
        }
        let some = buf.remaining().min(self.read.len() - self.at);
        buf.put_slice(&self.read[self.at..self.at + some]);
        self.at += some;
        if self.at == self.read.len() {
            // An idle connection keeps no buffer of ours.
            (self.read, self.at) = (Vec::new(), 0);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.watch_stall(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bytes);
        self.watch_stall(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
