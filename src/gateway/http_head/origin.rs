//! Whose page opens a WebSocket. Browsers send `Origin` and let pages open sockets anywhere, so this is what keeps a
//! foreign page from acting with what the browser holds.

/// Host and port as `Host` and `Origin` write them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Authority<'a> {
    host: &'a str,
    port: Option<u16>,
}

impl<'a> Authority<'a> {
    /// Takes nothing but names, addresses (IPv6 in brackets) and a port: no user, no path, no escapes.
    pub(super) fn parse(text: &'a str) -> Option<Authority<'a>> {
        let host_bytes = match text.strip_prefix('[') {
            Some(inner) => inner.find(']')? + 2,
            None => text.find(':').unwrap_or(text.len()),
        };
        let (host, port) = text.split_at(host_bytes);
        let is_valid = match host.strip_prefix('[') {
            Some(inner) => inner.trim_end_matches(']').parse::<std::net::Ipv6Addr>().is_ok(),
            None => !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte)),
        };
        let port = match port.strip_prefix(':') {
            None if port.is_empty() => None,
            None => return None,
            Some("") => None,
            Some(digits) if digits.len() <= 5 && digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                Some(digits.parse().ok().filter(|port| *port != 0)?)
            }
            Some(_) => return None,
        };
        is_valid.then_some(Authority { host, port })
    }

    /// The same server, where a missing port means `default_port`.
    pub(super) fn is_same(self, other: Authority<'_>, default_port: u16) -> bool {
        self.host.eq_ignore_ascii_case(other.host)
            && self.port.unwrap_or(default_port) == other.port.unwrap_or(default_port)
    }
}

/// The server's own, as far as `Host` tells, or listed. `null` (sandboxed frames, local files) is neither.
pub(super) fn is_allowed(origin: &str, host: Option<Authority<'_>>, listed: &[String]) -> bool {
    if origin == "null" {
        return false;
    }
    if listed.iter().any(|listed| listed == origin) {
        return true;
    }
    let own = |authority, default_port| {
        Authority::parse(authority).is_some_and(|origin| host.is_some_and(|host| host.is_same(origin, default_port)))
    };
    // Behind a proxy that ends TLS, only the page's scheme tells which port a Host without one means.
    match origin.split_once("://") {
        Some(("http", authority)) => own(authority, 80),
        Some(("https", authority)) => own(authority, 443),
        _ => false,
    }
}
