//! The claim on the server's address: the proof that no second server has it.
//!
//! SO_REUSEPORT, by which every shard listens on the same port, would let a second server bind it too without an
//! error, and the kernel would deal connections to both. So the address is claimed first, by an abstract Unix socket of
//! its name: it lives in the same network namespace as the port, goes with its process however that ends, and tells
//! who holds it.

use std::io;
use std::net::SocketAddr;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr as UnixAddr, UnixListener};
use std::time::Duration;

use tokio::time::Instant;

/// Between two attempts to get the address.
const RETRY_PAUSE: Duration = Duration::from_millis(100);

/// Held as long as the process serves; none yet for a port that the kernel is to choose, which is nobody else's.
#[derive(Debug)]
pub struct Claim {
    lock: Option<UnixListener>,
}

impl Claim {
    /// Makes known who holds a port that the kernel has chosen.
    pub fn name(&mut self, addr: SocketAddr) {
        if self.lock.is_none() {
            // The port is ours in any case; only the holder's name would be missing.
            self.lock = try_claim(addr).ok().and_then(|claim| claim.lock);
        }
    }
}

/// Claims the address and binds it by `bind`. Waits up to `patience` for a server that is just ending.
///
/// # Errors
/// Who holds the address, or what else is wrong with it: one line.
pub async fn claim<T>(
    addr: SocketAddr,
    patience: Duration,
    mut bind: impl FnMut() -> io::Result<T>,
) -> Result<(Claim, T), String> {
    let deadline = Instant::now() + patience;
    loop {
        match try_claim(addr).and_then(|claim| Ok((claim, bind()?))) {
            Ok(claimed) => return Ok(claimed),
            Err(error) if error.kind() != io::ErrorKind::AddrInUse => {
                return Err(format!("cannot listen on {addr}: {error}"));
            }
            Err(_) if Instant::now() >= deadline => return Err(in_use(addr).await),
            Err(_) => tokio::time::sleep(RETRY_PAUSE).await,
        }
    }
}

fn try_claim(addr: SocketAddr) -> io::Result<Claim> {
    let lock = if addr.port() == 0 { None } else { Some(UnixListener::bind_addr(&name(addr)?)?) };
    Ok(Claim { lock })
}

fn name(addr: SocketAddr) -> io::Result<UnixAddr> {
    UnixAddr::from_abstract_name(format!("veza-chat-server/{addr}"))
}

/// Says who holds the address.
async fn in_use(addr: SocketAddr) -> String {
    let holder = async {
        let stream = std::os::unix::net::UnixStream::connect_addr(&name(addr)?)?;
        stream.set_nonblocking(true)?;
        tokio::net::UnixStream::from_std(stream)?.peer_cred()
    };
    let holder = match holder.await.ok().and_then(|cred| cred.pid()) {
        Some(pid) => format!("another chat-server (process {pid})"),
        None => "another process".to_owned(),
    };
    format!("{addr} is held by {holder}: end it, or set another address or port")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    /// A port that was free a moment ago, and what binds it.
    fn port() -> SocketAddr {
        TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
    }

    #[tokio::test]
    async fn a_second_server_is_refused_and_told_who_holds_the_address() {
        let addr = port();
        let first = claim(addr, Duration::ZERO, || Ok(())).await.unwrap();
        let error = claim(addr, Duration::ZERO, || Ok(())).await.unwrap_err();
        assert!(error.contains(&addr.to_string()), "{error}");
        assert!(error.contains(&format!("process {}", std::process::id())), "{error}");
        drop(first);
        claim(addr, Duration::ZERO, || Ok(())).await.expect("a server that has ended leaves nothing");
    }

    #[tokio::test]
    async fn a_foreign_program_on_the_port_leaves_no_claim_behind() {
        let addr = port();
        let foreign = TcpListener::bind(addr).unwrap();
        let error = claim(addr, Duration::ZERO, || TcpListener::bind(addr)).await.unwrap_err();
        assert!(error.contains("another process"), "{error}");
        drop(foreign);
        claim(addr, Duration::ZERO, || TcpListener::bind(addr)).await.expect("free again");
    }

    #[tokio::test]
    async fn waits_for_a_server_that_is_just_ending() {
        let addr = port();
        let first = claim(addr, Duration::ZERO, || Ok(())).await.unwrap();
        let second = tokio::spawn(async move { claim(addr, Duration::from_secs(60), || Ok(())).await });
        tokio::task::yield_now().await;
        assert!(!second.is_finished(), "it waits");
        drop(first);
        second.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn ports_that_the_kernel_chooses_are_not_claimed() {
        let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let mut first = claim(any, Duration::ZERO, || TcpListener::bind(any)).await.unwrap();
        let second = claim(any, Duration::ZERO, || TcpListener::bind(any)).await.unwrap();
        let addr = first.1.local_addr().unwrap();
        assert_ne!(addr, second.1.local_addr().unwrap());
        first.0.name(addr);
        let error = claim(addr, Duration::ZERO, || Ok(())).await.unwrap_err();
        assert!(error.contains(&format!("process {}", std::process::id())), "{error}");
    }
}
