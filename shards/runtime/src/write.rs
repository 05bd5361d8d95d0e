//! The write path: one system call for all that waits for a socket.

use std::io::{self, IoSlice};

use socket2::Socket;
use veza_engine::fanout::Outbox;

/// Frames in one vectored write: the kernel's own limit (`UIO_MAXIOV`).
const SLICES_MAX: usize = 1024;

/// A peer that is gone must not raise SIGPIPE; a full socket must not block the shard.
const FLAGS: i32 = libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT;

/// The gather list, kept between writes.
#[derive(Default)]
pub struct Writer {
    slices: Vec<IoSlice<'static>>,
}

/// What one write did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written {
    /// Bytes that the kernel took; 0 if the socket is full.
    pub bytes: usize,
    /// It took less than was offered.
    pub blocked: bool,
}

impl Writer {
    /// Offers what waits to the kernel, once. The caller advances the outbox.
    ///
    /// # Errors
    /// The connection is broken.
    pub fn write(&mut self, socket: &Socket, outbox: &Outbox) -> io::Result<Written> {
        let (offered, result) = match outbox.single() {
            Some(bytes) => (bytes.len(), socket.send_with_flags(bytes, FLAGS)),
            None => {
                let mut slices = recycle(std::mem::take(&mut self.slices));
                outbox.slices(&mut slices, SLICES_MAX);
                let offered = slices.iter().map(|slice| slice.len()).sum();
                let result = socket.send_vectored_with_flags(&slices, FLAGS);
                self.slices = recycle(slices);
                (offered, result)
            }
        };
        match result {
            Ok(bytes) => Ok(Written { bytes, blocked: bytes < offered }),
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {
                Ok(Written { bytes: 0, blocked: true })
            }
            Err(error) => Err(error),
        }
    }
}

/// The allocation of an empty list under another lifetime.
fn recycle<'a>(mut slices: Vec<IoSlice<'_>>) -> Vec<IoSlice<'a>> {
    slices.clear();
    // In place: collecting an emptied vector into one of the same layout keeps the allocation.
    slices.into_iter().map(|_| unreachable!("it is empty")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use veza_engine::fanout::{Frame, FrameClass};

    #[test]
    fn all_frames_leave_in_order_across_full_sockets() {
        let (left, mut right) = std::os::unix::net::UnixStream::pair().unwrap();
        let socket = Socket::from(left);
        socket.set_nonblocking(true).unwrap();
        let mut outbox = Outbox::default();
        let payloads: Vec<Vec<u8>> = (0..3000u32).map(|n| n.to_be_bytes().repeat(64)).collect();
        payloads.iter().for_each(|payload| outbox.push(Frame::text(payload), FrameClass::Push));
        let expected: Vec<u8> = payloads.iter().flat_map(|p| veza_engine::fanout::text_frame(p).to_vec()).collect();
        let (mut writer, mut got, mut blocked) = (Writer::default(), Vec::new(), 0);
        while !outbox.is_empty() {
            let written = writer.write(&socket, &outbox).unwrap();
            outbox.advance(written.bytes);
            if written.blocked {
                blocked += 1;
                let mut some = vec![0; 100_000];
                let n = right.read(&mut some).unwrap();
                got.extend_from_slice(&some[..n]);
            }
        }
        drop(socket);
        right.read_to_end(&mut got).unwrap();
        assert!(blocked > 0, "the socket was never full");
        assert!(got == expected);
    }

    #[test]
    fn a_peer_that_is_gone_is_an_error_and_no_signal() {
        let (left, right) = std::os::unix::net::UnixStream::pair().unwrap();
        drop(right);
        let mut outbox = Outbox::default();
        outbox.push(Frame::text(b"x"), FrameClass::Push);
        let error = Writer::default().write(&Socket::from(left), &outbox).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    }

    #[test]
    fn the_gather_list_is_kept() {
        let slices: Vec<IoSlice<'_>> = Vec::with_capacity(77);
        let place = slices.as_ptr() as usize;
        let slices = recycle(slices);
        assert_eq!((slices.as_ptr() as usize, slices.capacity()), (place, 77));
    }
}
