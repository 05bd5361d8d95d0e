//! Connections and HTTP requests of the world's clients.

use veza_engine::Input;
use veza_engine::deflate::Window;
use veza_engine::id::{ConnId, RoomId, ShardId};
use veza_engine::input::{Identity, TokenError, VerifyFor};
use veza_engine::wire::{CloseCode, CommandError, CommandType};

use super::{Event, MS, World};
use crate::client::{Asked, Question};

impl World {
    /// A client connects.
    pub(crate) fn connect(&mut self, client: usize) {
        let shard = self.rng.below(self.shards.len() as u64) as usize;
        let taken: Vec<u32> =
            self.conns.keys().filter(|conn| usize::from(conn.shard.0) == shard).map(|c| c.slot).collect();
        let slot = (0..).find(|slot| !taken.contains(slot)).expect("numbers do not end");
        let generations = &mut self.generations[shard];
        generations.resize(generations.len().max(slot as usize + 1), 0);
        generations[slot as usize] += 1;
        let conn = ConnId { shard: ShardId(shard as u16), slot, generation: generations[slot as usize] };
        self.clients[client].conn = Some(conn);
        self.clients[client].since = self.steps;
        self.conns.insert(conn, client);
        // Every second connection takes compressed frames, some of them only short ones.
        let window = [Window::NONE, Window(15), Window::NONE, Window(9)][conn.generation as usize % 4];
        if self.rng.percent(20) {
            self.input(shard, Input::Opened { conn, identity: None, window });
            return self.command(client, "authenticate", Asked::Other, r#""token":"its own""#);
        }
        let identity = self.identity(client);
        self.input(shard, Input::Opened { conn, identity: Some(Box::new(identity)), window });
    }

    /// A token has been looked at.
    pub(super) fn verified(&mut self, conn: ConnId, purpose: VerifyFor) {
        let Some(client) = self.conns.get(&conn).copied() else { return };
        let result = match self.rng.below(20) {
            0 if !self.calm => Err(TokenError::Invalid),
            _ => Ok(Box::new(self.identity(client))),
        };
        self.input(usize::from(conn.shard.0), Input::Verified { conn, purpose, result });
    }

    /// The session of a client's next or present connection.
    pub(crate) fn session_of(&self, client: usize) -> Box<str> {
        format!("s{client}-{}", self.clients[client].session).into()
    }

    /// The engine has said that a session is over.
    pub(crate) fn session_ended(&mut self, session: &str) {
        let now = self.now_us;
        self.ended.entry(session.into()).or_insert(now);
    }

    /// All connections of a user were told to end in this step.
    pub(crate) fn all_ended(&mut self, user: u64, step: u64) {
        let now = self.now_us;
        for client in self.clients.iter_mut().filter(|client| client.user == user && client.ready) {
            client.ended = Some((step, now));
        }
    }

    /// Ended sessions are told nothing any more, within a second (and what the rings of this world add).
    pub(crate) fn is_alive(&self, client: usize) -> Result<(), String> {
        const WITHIN_US: u64 = 2_000_000;
        let own = &self.clients[client];
        if own.ended.is_some_and(|(step, at)| own.since < step && self.now_us > at + WITHIN_US) {
            return Err("all its user's sessions are long over".into());
        }
        match self.ended.get(&self.session_of(client)) {
            Some(at) if self.now_us > at + WITHIN_US => Err("its session is long over".into()),
            _ => Ok(()),
        }
    }

    /// A command over HTTP, on any shard.
    pub(crate) fn over_http(&mut self, client: usize, kind: &str, asked: Asked, data: &str) {
        let Some(kind) = CommandType::from_name(kind) else { return };
        let Ok(command) = veza_engine::wire::parse::Parser::new().parse_data(kind, data.as_bytes()) else { return };
        self.order += 1;
        let ticket = self.order;
        self.http.insert(ticket, (client, Question { asked, step: self.steps }));
        let shard = self.rng.below(self.shards.len() as u64) as usize;
        let user = self.clients[client].user_id;
        self.trace(|| format!("client {client} (user {user:?}) over HTTP: {command:?}"));
        let identity = Box::new(self.identity(client));
        self.input(shard, Input::Http { ticket, identity, command: Box::new(command) });
    }

    pub(super) fn http_reply(&mut self, ticket: u64, result: Result<Vec<u8>, Box<CommandError>>) {
        let (Some((client, question)), Ok(data)) = (self.http.remove(&ticket), result) else { return };
        let Ok(data) = serde_json::from_slice(&data) else { return self.checker.fail("HTTP: not JSON".into()) };
        if let Err(problem) = self.answered_over_http(client, &question, &data) {
            self.checker.fail(format!("client {client} over HTTP: {problem}; {question:?}: {data}"));
        }
    }

    fn identity(&self, client: usize) -> Identity {
        let user = self.clients[client].user;
        Identity {
            iss: "".into(),
            sub: format!("u{user}").into(),
            username: Some(format!("name{user}").into()),
            role: self.model.server_roles[user as usize],
            session_id: self.session_of(client).into(),
            issued_at: Some(self.now().wall.secs()),
            expires_at: 4_000_000_000,
        }
    }

    /// A client goes without a word.
    pub(crate) fn disconnect(&mut self, client: usize) {
        let Some(conn) = self.clients[client].conn else { return };
        self.conns.remove(&conn);
        self.inspected.remove(&conn);
        self.clients[client].disconnected();
        self.input(usize::from(conn.shard.0), Input::Closed { conn, code: None });
    }

    pub(super) fn closed_by_engine(&mut self, conn: ConnId, code: CloseCode) {
        let _ = self.shards[usize::from(conn.shard.0)].take_outbox(conn);
        self.inspected.remove(&conn);
        if let Some(client) = self.conns.remove(&conn) {
            self.checker.mix(code as u64);
            if code == CloseCode::SessionRevoked {
                self.clients[client].session += 1;
            }
            self.clients[client].disconnected();
        }
    }

    /// A client sends a text frame.
    pub(crate) fn text(&mut self, client: usize, text: &str) {
        let Some(conn) = self.clients[client].conn else { return };
        self.trace(|| format!("client {client} (user {:?}): {text}", self.clients[client].user_id));
        let mut bytes = text.as_bytes().to_vec();
        self.input(usize::from(conn.shard.0), Input::Text { conn, text: &mut bytes });
    }

    /// Looks at frames the moment the engine lets them out: nothing in them may be uncommitted.
    pub(super) fn inspect(&mut self, conn: ConnId) {
        let shard = &self.shards[usize::from(conn.shard.0)];
        let Some(outbox) = shard.outbox(conn) else { return };
        let mut slices = Vec::new();
        outbox.slices(&mut slices, usize::MAX);
        let bytes: Vec<u8> = slices.iter().flat_map(|slice| slice.iter().copied()).collect();
        let seen = self.inspected.entry(conn).or_default();
        let mut fresh = bytes[*seen..].to_vec();
        *seen = bytes.len();
        let Some(client) = self.conns.get(&conn).copied() else { return };
        for (opcode, payload) in crate::client::frames(&mut fresh) {
            if opcode == 1 {
                self.let_out(client, &payload);
            }
        }
    }

    /// A client reads some of what waits for it.
    pub(super) fn read(&mut self, client: usize) {
        let Some(conn) = self.clients[client].conn else { return };
        // Frames that are held may leave with others.
        self.inspect(conn);
        let shard = usize::from(conn.shard.0);
        let Some(outbox) = self.shards[shard].outbox(conn) else { return };
        let mut slices = Vec::new();
        outbox.slices(&mut slices, usize::MAX);
        let mut bytes: Vec<u8> = slices.iter().flat_map(|slice| slice.iter().copied()).collect();
        if bytes.len() > 200 && self.rng.percent(30) && !self.calm {
            bytes.truncate(self.rng.between(1, bytes.len() as u64) as usize);
            let delay = self.rng.below(5 * MS);
            self.at(delay, Event::Read { client });
        }
        if bytes.is_empty() {
            return;
        }
        if let Some(seen) = self.inspected.get_mut(&conn) {
            *seen = seen.saturating_sub(bytes.len());
        }
        let now = self.now();
        self.shards[shard].wrote(now, conn, bytes.len());
        self.clients[client].rx.extend_from_slice(&bytes);
        let mut rx = std::mem::take(&mut self.clients[client].rx);
        let frames = crate::client::frames(&mut rx);
        self.clients[client].rx = rx;
        self.input(shard, Input::Alive { conn });
        for (opcode, payload) in frames {
            self.checker.mix_bytes(&payload);
            if opcode == 1 && self.clients[client].conn == Some(conn) {
                self.receive(client, &payload);
            }
        }
    }

    /// Whether a user is a member of a room by what is committed.
    pub(crate) fn is_member(&self, client: usize, room: RoomId) -> bool {
        let user = self.clients[client].user_id.map(veza_engine::id::UserId);
        user.is_some_and(|user| self.store.live(room).is_some_and(|stored| stored.members.contains_key(&user)))
    }
}
