//! Accepting with one system call: the socket comes out non-blocking, and with what it inherits from its listener.

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;

use rustix::net::{SocketFlags, acceptfrom_with};
use socket2::Socket;

/// What an attempt to accept failed with, by what to do about it.
#[derive(Debug)]
pub enum NotAccepted {
    /// Nobody waits.
    Nobody,
    /// The peer was gone before: try the next one.
    Lost,
    /// Descriptors or memory are exhausted, or something else that trying again at once would not mend: 858,000
    /// errors a second would starve everything else.
    BackOff(io::Error),
}

/// Accepts one connection from a non-blocking listener.
///
/// # Errors
/// See [`NotAccepted`].
pub fn accept(listener: impl AsFd) -> Result<(Socket, SocketAddr), NotAccepted> {
    match acceptfrom_with(listener, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC) {
        Ok((fd, peer)) => match peer.and_then(|peer| SocketAddr::try_from(peer).ok()) {
            Some(peer) => Ok((Socket::from(fd), peer)),
            None => Err(NotAccepted::Lost), // reset in between: it has no address any more
        },
        Err(error) => Err(classify(error.into())),
    }
}

fn classify(error: io::Error) -> NotAccepted {
    match error.raw_os_error() {
        Some(libc::EAGAIN) => NotAccepted::Nobody,
        // Errors of the connection that was about to be accepted (accept(2)).
        Some(
            libc::ECONNABORTED
            | libc::EINTR
            | libc::EPROTO
            | libc::EPERM
            | libc::ENETDOWN
            | libc::ENOPROTOOPT
            | libc::EHOSTDOWN
            | libc::ENONET
            | libc::EHOSTUNREACH
            | libc::EOPNOTSUPP
            | libc::ENETUNREACH,
        ) => NotAccepted::Lost,
        _ => NotAccepted::BackOff(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_to_do_about_an_error() {
        for (errno, expected) in [
            (libc::EAGAIN, "Nobody"),
            (libc::ECONNABORTED, "Lost"),
            (libc::EINTR, "Lost"),
            (libc::EMFILE, "BackOff"),
            (libc::ENFILE, "BackOff"),
            (libc::ENOBUFS, "BackOff"),
            (libc::ENOMEM, "BackOff"),
            (libc::EINVAL, "BackOff"),
        ] {
            let got = format!("{:?}", classify(io::Error::from_raw_os_error(errno)));
            assert!(got.starts_with(expected), "{errno}: {got}");
        }
    }

    #[test]
    fn sockets_come_out_non_blocking_with_the_listeners_options() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        socket2::SockRef::from(&listener).set_tcp_nodelay(true).unwrap();
        assert!(matches!(accept(&listener), Err(NotAccepted::Nobody)));
        let client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (socket, peer) = accept(&listener).unwrap();
        assert_eq!(peer, client.local_addr().unwrap());
        assert!(socket.tcp_nodelay().unwrap());
        let would_block = io::Read::read(&mut &socket, &mut [0; 8]).unwrap_err();
        assert_eq!(would_block.kind(), io::ErrorKind::WouldBlock);
    }
}
