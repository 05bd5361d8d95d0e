//! A panic while the engine carries out somebody's command costs that somebody, wherever the command came from. A
//! panic while it handles anything else (a completion, the time) is nobody's: it ends the shard, and so the process.

use std::panic::{AssertUnwindSafe, catch_unwind};

use veza_engine::id::ConnId;
use veza_engine::peer::Asker;
use veza_engine::wire::{CloseCode, CommandError, ErrorCode};
use veza_engine::{Input, PeerMessage};

use super::Pump;
use crate::edge::Edge;

/// Who asked for what this message wants done.
fn asker(message: &PeerMessage) -> Option<Asker> {
    use PeerMessage as M;
    match message {
        M::Command { origin, .. }
        | M::Refused { origin, .. }
        | M::RoomCommand { origin, .. }
        | M::RoomRefused { origin, .. }
        | M::RoomCreated { origin, .. } => Some(origin.asker),
        M::ResumeRoom { conn, .. } | M::RoomResume { conn, .. } | M::ReplayPage { conn, .. } => {
            Some(Asker::Conn(*conn))
        }
        _ => None,
    }
}

/// Who asked for what this input wants done.
fn blamed(input: &Input<'_>, me: veza_engine::id::ShardId) -> Option<Asker> {
    match input {
        Input::Peer { message, .. } => asker(message),
        Input::Http { ticket, .. } => Some(Asker::Http { shard: me, ticket: *ticket }),
        _ => None,
    }
}

impl<E: Edge> Pump<E> {
    /// Gives the engine an input that no socket of this shard is to blame for.
    pub(super) fn handle(&mut self, input: Input<'_>) {
        let Some(asker) = blamed(&input, self.id) else { return self.shard.handle(self.now, input) };
        let (shard, now) = (&mut self.shard, self.now);
        if catch_unwind(AssertUnwindSafe(|| shard.handle(now, input))).is_ok() {
            return;
        }
        self.stats.panics += 1;
        let error_id = self.now.mono.0;
        tracing::error!(
            ?asker,
            error_id = format_args!("{error_id:016x}"),
            "panic while a command was carried out; who sent it is disconnected"
        );
        match asker {
            Asker::Conn(conn) => self.disconnect(conn),
            Asker::Http { shard, ticket } if shard == self.id => {
                let error = CommandError::new(ErrorCode::Internal, "a fault of the server");
                let error = CommandError { error_id: Some(error_id), ..error };
                self.edge.http_reply(ticket, Err(Box::new(error)));
            }
            Asker::Http { .. } => {} // the request runs into its own time limit
        }
    }

    fn disconnect(&mut self, conn: ConnId) {
        let message = PeerMessage::Close { conn, code: CloseCode::ServerError };
        if conn.shard == self.id {
            self.shard.handle(self.now, Input::Peer { from: self.id, message });
        } else if self.port.has_room(conn.shard) {
            self.port.send(conn.shard, message);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use veza_engine::id::{RoomId, Seq, ShardId};

    #[test]
    fn commands_have_somebody_to_blame_and_completions_have_not() {
        let conn = ConnId { shard: ShardId(1), slot: 2, generation: 3 };
        let page = PeerMessage::ReplayPage { conn, room_id: RoomId(1), after: Seq(1) };
        let from = ShardId(1);
        assert_eq!(blamed(&Input::Peer { from, message: page }, ShardId(0)), Some(Asker::Conn(conn)));
        let attached = PeerMessage::Attached { conn };
        assert_eq!(blamed(&Input::Peer { from, message: attached }, ShardId(0)), None);
        assert_eq!(blamed(&Input::Tick, ShardId(0)), None);
    }
}
