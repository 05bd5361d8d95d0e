//! One client of the crowd: from the request to the caught-up subscription.

use std::io::Write as _;
use std::net::SocketAddr;

use socket2::Socket;

use crate::frame::number_of;
use crate::raw::{FIN, frame, opcode};

/// How a client comes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// The upgrade alone: for a bare server, that does nothing else.
    Upgrade,
    /// Upgrade with a token, nothing more.
    Authenticate,
    /// Joins its rooms.
    Join,
    /// Resumes its rooms where it left them.
    Resume,
}

/// How far it has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Not connected.
    Away,
    /// The connection is being made.
    Connecting,
    /// The request is out.
    Upgrading,
    /// Waits for `auth_success`.
    Authenticating,
    /// Waits for the rooms' answers.
    Entering,
    /// Waits for what it has missed.
    CatchingUp,
    /// Has everything.
    Ready,
    /// Was answered 503: to come again in a second, as the answer says.
    Refused,
}

/// A room as a client knows it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Place {
    /// Which.
    pub room_id: u64,
    /// Told at the join.
    pub epoch: u64,
    /// The last event seen.
    pub last: u64,
    /// The head that it must catch up with.
    pub head: u64,
}

/// A client.
pub struct Member {
    request: Box<[u8]>,
    socket: Option<Socket>,
    pub(super) way: Way,
    /// How far it has come.
    pub phase: Phase,
    /// Its rooms.
    pub places: Vec<Place>,
    /// Answers that are still to come.
    missing: usize,
    /// What came of a frame that is not complete.
    partial: Vec<u8>,
}

impl Member {
    pub(super) fn new(addr: SocketAddr, token: Option<&str>, rooms: &[u64]) -> Member {
        let authorization = token.map_or(String::new(), |token| format!("Authorization: Bearer {token}\r\n"));
        let request = format!(
            "GET /ws HTTP/1.1\r\nHost: {addr}\r\n{authorization}Upgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        Member {
            request: request.into_bytes().into(),
            socket: None,
            way: Way::Upgrade,
            phase: Phase::Away,
            places: rooms.iter().map(|room| Place { room_id: *room, ..Place::default() }).collect(),
            missing: 0,
            partial: Vec::new(),
        }
    }

    pub(super) fn socket(&self) -> Option<&Socket> {
        self.socket.as_ref()
    }

    pub(super) fn into_parts(self) -> Result<(Socket, Vec<Place>), String> {
        if !self.partial.is_empty() {
            return Err("half a frame has come".into());
        }
        Ok((self.socket.ok_or("a client is away")?, self.places))
    }

    pub(super) fn set_out(&mut self, socket: Socket, way: Way) {
        (self.socket, self.way, self.phase) = (Some(socket), way, Phase::Connecting);
        self.partial = Vec::new();
    }

    /// Whether it was ready.
    pub(super) fn cut(&mut self) -> bool {
        self.socket = None;
        std::mem::replace(&mut self.phase, Phase::Away) == Phase::Ready
    }

    pub(super) fn writable(&mut self) -> Result<(), String> {
        if self.phase != Phase::Connecting {
            return Ok(());
        }
        let mut socket = self.socket.as_ref().ok_or("no socket")?;
        // An attempt that has failed says so here.
        let written = socket.write(&self.request).map_err(|error| error.to_string())?;
        if written != self.request.len() {
            return Err("a fresh socket does not take the request".into());
        }
        self.phase = Phase::Upgrading;
        Ok(())
    }

    /// Sends a text frame. Small ones to a peer that reads: whatever does not fit is a fault.
    ///
    /// # Errors
    /// It does not fit, or the connection is gone.
    pub fn send(&mut self, text: &str) -> Result<(), String> {
        self.send_frame(&frame(FIN | opcode::TEXT, text.as_bytes()))
    }

    fn send_frame(&mut self, bytes: &[u8]) -> Result<(), String> {
        let mut socket = self.socket.as_ref().ok_or("no socket")?;
        match socket.write(bytes) {
            Ok(count) if count == bytes.len() => Ok(()),
            Ok(_) => Err("the server does not read".into()),
            Err(error) => Err(error.to_string()),
        }
    }

    /// Takes bytes that were read.
    pub(super) fn take(&mut self, bytes: &[u8], seen: &mut u64) -> Result<(), String> {
        if self.partial.is_empty() {
            let used = self.frames(bytes, seen)?;
            self.partial.extend_from_slice(&bytes[used..]);
        } else {
            let mut all = std::mem::take(&mut self.partial);
            all.extend_from_slice(bytes);
            let used = self.frames(&all, seen)?;
            if used < all.len() {
                all.drain(..used);
                self.partial = all;
            }
        }
        Ok(())
    }

    fn frames(&mut self, bytes: &[u8], seen: &mut u64) -> Result<usize, String> {
        let mut at = 0;
        if self.phase == Phase::Upgrading {
            let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else { return Ok(0) };
            if bytes.starts_with(b"HTTP/1.1 503") {
                self.phase = Phase::Refused;
                return Ok(bytes.len());
            }
            if !bytes.starts_with(b"HTTP/1.1 101") {
                return Err(String::from_utf8_lossy(bytes).into_owned());
            }
            at = end + 4;
            self.phase = if self.way == Way::Upgrade { Phase::Ready } else { Phase::Authenticating };
        }
        while let Some((first, payload)) = split(&bytes[at..]) {
            at += payload.end;
            let payload = &bytes[at - payload.len..at];
            match first & 0x0f {
                opcode::TEXT => self.text(std::str::from_utf8(payload).map_err(|error| error.to_string())?, seen)?,
                opcode::PING => self.send_frame(&frame(FIN | opcode::PONG, payload))?,
                opcode::CLOSE => return Err(format!("closed by the server: {payload:?}")),
                _ => {}
            }
        }
        Ok(at)
    }

    fn text(&mut self, text: &str, seen: &mut u64) -> Result<(), String> {
        if let Some(rest) = text.strip_prefix("{\"type\":\"message\",\"data\":{\"room_id\":") {
            *seen += 1;
            return self.message(rest);
        }
        if text.starts_with("{\"type\":\"auth_success\"") {
            return self.authenticated();
        }
        if text.starts_with("{\"type\":\"room_joined\"") {
            return self.joined(text);
        }
        if text.starts_with("{\"type\":\"resumed\"") {
            return self.resumed(text);
        }
        if text.starts_with("{\"type\":\"error\"") { Err(text.to_owned()) } else { Ok(()) }
    }

    /// `rest`: from the room's number on.
    fn message(&mut self, rest: &str) -> Result<(), String> {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let room_id: u64 = rest[..digits].parse().map_err(|_| "no room_id")?;
        let seq = number_of(rest, "\"seq\":").ok_or("no seq")?;
        let place = self.places.iter_mut().find(|place| place.room_id == room_id).ok_or("of a foreign room")?;
        if seq != place.last + 1 {
            return Err(format!("in room {room_id} {} was followed by {seq}", place.last));
        }
        place.last = seq;
        if self.phase == Phase::CatchingUp {
            self.caught_up();
        }
        Ok(())
    }

    fn caught_up(&mut self) {
        let done = self.missing == 0 && self.places.iter().all(|place| place.last >= place.head);
        self.phase = if done { Phase::Ready } else { Phase::CatchingUp };
    }

    fn authenticated(&mut self) -> Result<(), String> {
        if self.phase != Phase::Authenticating {
            return Err("auth_success, again".into());
        }
        self.missing = self.places.len();
        if self.way == Way::Authenticate || self.places.is_empty() {
            self.missing = 0;
            self.phase = Phase::Ready;
            return Ok(());
        }
        self.phase = Phase::Entering;
        let bytes = if self.way == Way::Join { self.joins() } else { self.resume() };
        self.send_frame(&bytes)
    }

    fn joins(&self) -> Vec<u8> {
        let joins = self.places.iter().map(|place| {
            let text = format!("{{\"type\":\"join_room\",\"id\":1,\"data\":{{\"room_id\":{}}}}}", place.room_id);
            frame(FIN | opcode::TEXT, text.as_bytes())
        });
        joins.flatten().collect()
    }

    fn resume(&mut self) -> Vec<u8> {
        self.missing = 1;
        let mut text = String::with_capacity(64 + 80 * self.places.len());
        text.push_str("{\"type\":\"resume\",\"id\":1,\"data\":{\"rooms\":[");
        for (index, place) in self.places.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            let Place { room_id, epoch, last, .. } = place;
            use std::fmt::Write as _;
            let _ = write!(text, "{comma}{{\"room_id\":{room_id},\"last_seq\":{last},\"epoch\":{epoch}}}");
        }
        text.push_str("]}}");
        frame(FIN | opcode::TEXT, text.as_bytes())
    }

    fn joined(&mut self, text: &str) -> Result<(), String> {
        let number = |name| number_of(text, name).ok_or_else(|| format!("no {name} in {text}"));
        let (room_id, epoch, seq) = (number("\"room_id\":")?, number("\"epoch\":")?, number("\"seq\":")?);
        let place = self.places.iter_mut().find(|place| place.room_id == room_id).ok_or("joined a foreign room")?;
        (place.epoch, place.last, place.head) = (epoch, seq, seq);
        self.missing -= 1;
        if self.missing == 0 {
            self.phase = Phase::Ready;
        }
        Ok(())
    }

    fn resumed(&mut self, text: &str) -> Result<(), String> {
        let answers: Vec<&str> = text.split("{\"room_id\":").skip(1).collect();
        if answers.len() != self.places.len() {
            return Err(format!("resumed other rooms: {text}"));
        }
        for (place, answer) in self.places.iter_mut().zip(answers) {
            if !answer.contains("\"recovered\":true") {
                return Err(format!("not recovered: {text}"));
            }
            place.head = number_of(answer, "\"seq\":").ok_or("no seq")?;
            if number_of(answer, "\"replayed\":") != Some(place.head - place.last) {
                return Err(format!("{} was the last, but {text}", place.last));
            }
        }
        self.missing = 0;
        self.caught_up();
        Ok(())
    }
}

/// A frame's payload within bytes.
pub(crate) struct Payload {
    /// Its length.
    pub len: usize,
    /// Where it ends.
    pub end: usize,
}

/// The first frame, if it is whole: its first byte and where its payload is. The server masks nothing.
pub(crate) fn split(bytes: &[u8]) -> Option<(u8, Payload)> {
    let (head, len) = match *bytes {
        [_, 126, high, low, ..] => (4, usize::from(u16::from_be_bytes([high, low]))),
        [_, 127, a, b, c, d, e, f, g, h, ..] => (10, u64::from_be_bytes([a, b, c, d, e, f, g, h]) as usize),
        [_, short, ..] if short < 126 => (2, usize::from(short)),
        _ => return None,
    };
    let end = head + len;
    (bytes.len() >= end).then(|| (bytes[0], Payload { len, end }))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server's frame.
    fn served(text: &str) -> Vec<u8> {
        let mut bytes = vec![FIN | opcode::TEXT, 126];
        bytes.extend_from_slice(&(text.len() as u16).to_be_bytes());
        bytes.extend_from_slice(text.as_bytes());
        bytes
    }

    fn event(seq: u64) -> Vec<u8> {
        served(&format!("{{\"type\":\"message\",\"data\":{{\"room_id\":7,\"message_id\":{seq},\"seq\":{seq}}}}}"))
    }

    fn returning() -> Member {
        let mut member = Member::new("127.0.0.1:1".parse().unwrap(), None, &[7]);
        member.places[0].last = 4;
        (member.phase, member.missing) = (Phase::Entering, 1);
        member
    }

    fn resumed(head: u64) -> Vec<u8> {
        let replayed = head - 4;
        served(&format!(
            "{{\"type\":\"resumed\",\"id\":1,\"data\":{{\"rooms\":[{{\"room_id\":7,\"epoch\":9,\"recovered\":true,\
             \"seq\":{head},\"replayed\":{replayed}}}]}}}}"
        ))
    }

    #[test]
    fn is_ready_when_it_has_everything_however_the_bytes_come() {
        for (head, events, ready) in [(4, 0, true), (6, 1, false), (6, 2, true)] {
            let mut stream = resumed(head);
            (5..5 + events).for_each(|seq| stream.extend(event(seq)));
            for chunk in [1, 3, 1000] {
                let (mut member, mut seen) = (returning(), 0);
                stream.chunks(chunk).for_each(|bytes| member.take(bytes, &mut seen).unwrap());
                assert_eq!(member.phase == Phase::Ready, ready, "{events} of {head}");
                assert_eq!((seen, member.places[0].last), (events, 4 + events));
            }
        }
    }

    #[test]
    fn a_gap_a_repetition_and_a_lie_are_faults() {
        for stream in [[resumed(6), event(6)], [event(5), event(5)], [event(5), resumed(6)]] {
            let (mut member, mut seen) = (returning(), 0);
            assert!(member.take(&stream.concat(), &mut seen).is_err());
        }
    }
}
