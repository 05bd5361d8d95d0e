//! Sleeping on a poller inside a glommio executor: the only place where glommio's io_uring meets our descriptors.
//!
//! glommio 0.9 has no "wait until this descriptor is readable". But its TCP stream, made from a raw descriptor,
//! queues a `POLL_ADD` for it at construction, and its `poll_read` waits for the completion before it touches the
//! descriptor. On an epoll descriptor that is exactly the wait we need; the `recv` that follows fails with `ENOTSOCK`
//! (an epoll descriptor is no socket), which is the sign of being awake. After it the stream's own read state is used
//! up, so each sleep makes a new stream (no allocation but the poll's source) and gives its descriptor up unclosed.
//!
//! Short waits do not come here (`executor::NAP`). A pure epoll driver needs none of this: it calls [`Poller::collect_blocking`].

use std::future::poll_fn;
use std::io;
use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, AsRawFd, FromRawFd};
use std::pin::Pin;

use futures_io::AsyncRead;
use glommio::net::TcpStream;

use crate::poller::Poller;

/// Puts the executor's only task to sleep until something in `poller` is ready (or its timer has run out).
///
/// # Errors
/// If io_uring refuses the poll; the caller falls back on trying again.
pub async fn sleep(poller: &Poller) -> io::Result<()> {
    let fd = poller.as_fd().as_raw_fd();
    // SAFETY: the descriptor is open as long as `poller` is borrowed, and ManuallyDrop keeps the stream from closing
    // it. What a dropped stream would free besides (the poll's source) is taken by `poll_read` before it returns ready,
    // and a future dropped earlier only happens when the executor itself ends.
    let mut stream = ManuallyDrop::new(unsafe { TcpStream::from_raw_fd(fd) });
    let mut nothing = [0u8; 1];
    match poll_fn(|cx| Pin::new(&mut *stream).poll_read(cx, &mut nothing)).await {
        Err(error) if error.raw_os_error() == Some(libc::ENOTSOCK) => Ok(()),
        Err(error) => Err(error),
        Ok(_) => unreachable!("an epoll descriptor cannot be read"),
    }
}
