//! The listening sockets: one per shard on the same port, made before any shard starts, so that a port that is taken is
//! a plain error.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd};

use socket2::{Domain, Socket, Type};
use veza_engine::time::{Mono, SECOND_US};
use veza_runtime::accept::{NotAccepted, accept};

/// Connections that wait to be accepted, per shard; beyond, the kernel drops the client's SYN, and the client repeats it.
const BACKLOG: i32 = 4096;
/// Bytes that the kernel holds of one connection in each direction (it doubles them for its own overhead). Left alone it
/// grows to megabytes for a peer that does not read, which no bound of ours would see.
const SEND_BUFFER_BYTES: usize = 192 << 10;
const RECEIVE_BUFFER_BYTES: usize = 128 << 10;
/// Microseconds that accepting pauses when descriptors or memory are exhausted.
const BACK_OFF_US: u64 = 100_000;

/// One shard's listener.
pub struct Listener {
    socket: Socket,
    /// When the exhaustion may be logged again.
    log_again: Mono,
}

/// Binds one listener per shard to the same address; port 0 lets the system choose one for all.
///
/// `SO_REUSEPORT`, which this needs, lets a second process bind the same port silently and take half of the connections.
/// So the port is first bound without it, which fails if anybody listens there.
///
/// # Errors
/// The address cannot be bound: in use, not ours, or below the ports that we may use.
pub fn bind(address: SocketAddr, shards: u16) -> io::Result<Vec<Listener>> {
    if address.port() != 0 {
        let alone = socket(address)?;
        alone.bind(&address.into())?;
        alone.listen(1)?;
    }
    let mut bound = address;
    let mut listeners = Vec::new();
    for _ in 0..shards {
        let socket = socket(address)?;
        socket.set_reuse_port(true)?;
        socket.bind(&bound.into())?;
        bound = socket.local_addr()?.as_socket().ok_or(io::ErrorKind::AddrNotAvailable)?;
        listeners.push(Listener { socket, log_again: Mono(0) });
    }
    for listener in &listeners {
        listener.socket.listen(BACKLOG)?;
    }
    Ok(listeners)
}

fn socket(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    // A server that starts again must not wait for the last connections of the one before.
    socket.set_reuse_address(true)?;
    // Accepted sockets inherit all of this. Frames are written whole, so nothing is gained by waiting for more.
    socket.set_tcp_nodelay(true)?;
    socket.set_send_buffer_size(SEND_BUFFER_BYTES)?;
    socket.set_recv_buffer_size(RECEIVE_BUFFER_BYTES)?;
    Ok(socket)
}

/// What came of an attempt.
pub enum Accepted {
    /// A connection.
    Peer(Socket, SocketAddr),
    /// Nobody waits.
    Nobody,
    /// One was lost on the way; there may be more.
    Lost,
    /// Exhausted: not before this time.
    BackOff(Mono),
}

impl Listener {
    /// Where it listens.
    ///
    /// # Errors
    /// Those of `getsockname(2)`.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()?.as_socket().ok_or_else(|| io::ErrorKind::AddrNotAvailable.into())
    }

    /// Accepts one connection. Exhaustion is logged once a second.
    pub fn accept(&mut self, now: Mono) -> Accepted {
        match accept(&self.socket) {
            Ok((socket, peer)) => Accepted::Peer(socket, peer),
            Err(NotAccepted::Nobody) => Accepted::Nobody,
            Err(NotAccepted::Lost) => Accepted::Lost,
            Err(NotAccepted::BackOff(error)) => {
                if now >= self.log_again {
                    self.log_again = now.after(SECOND_US);
                    tracing::warn!(%error, "no connection can be accepted; trying again every 100 ms");
                }
                Accepted::BackOff(now.after(BACK_OFF_US))
            }
        }
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_shards_share_one_port_and_nobody_else_gets_it() {
        let listeners = bind("127.0.0.1:0".parse().unwrap(), 3).unwrap();
        let address = listeners[0].local_addr().unwrap();
        assert!(listeners.iter().all(|listener| listener.local_addr().unwrap() == address));
        let error = bind(address, 1).err().expect("the port is taken");
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        drop(listeners);
        assert!(bind(address, 2).is_ok(), "it is free again");
    }

    #[test]
    fn what_is_accepted_is_bounded_in_the_kernel_too() {
        let mut listener = bind("127.0.0.1:0".parse().unwrap(), 1).unwrap().remove(0);
        let _client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let Accepted::Peer(socket, _) = listener.accept(Mono(0)) else { panic!("it is there") };
        assert!(socket.tcp_nodelay().unwrap());
        let set = (2 * SEND_BUFFER_BYTES, 2 * RECEIVE_BUFFER_BYTES);
        assert_eq!((socket.send_buffer_size().unwrap(), socket.recv_buffer_size().unwrap()), set);
    }
}
