//! Commands over HTTP: a caller without a connection.

use super::Sessions;
use super::auth::invalid_token;
use super::deliver::draining_error;
use crate::core::{Core, LoadFor, Outcome, error, overloaded, store_unavailable};
use crate::effect::Effect;
use crate::input::Identity;
use crate::peer::{Asker, Caller, Origin, PeerMessage};
use crate::store::{Load, LoadError, Loaded};
use crate::wire::{Command, CommandError, ErrorCode};

/// A command whose caller is being looked up.
#[derive(Debug)]
pub(super) struct HttpWaiting {
    identity: Box<Identity>,
    command: Box<Command>,
}

impl Sessions {
    /// A command came over HTTP.
    pub fn http(&mut self, core: &mut Core, ticket: u64, identity: Box<Identity>, command: Box<Command>) {
        core.stats.commands.0[command.kind() as usize] += 1;
        if let Err(error) = self.check_http(core, &identity, &command) {
            return self.http_reply(core, ticket, Err(error));
        }
        if let Some(known) = self.identities.find(&identity, core.now.mono) {
            let caller = known.caller(&identity);
            return self.http_forward(core, ticket, &identity, caller, command);
        }
        let load = Load::Identify { identity: identity.clone() };
        match core.load(load, LoadFor::HttpIdentity { ticket }) {
            Ok(()) => {
                self.http.insert(ticket, HttpWaiting { identity, command });
            }
            Err(_) => self.http_reply(core, ticket, Err(overloaded())),
        }
    }

    fn check_http(&self, core: &Core, identity: &Identity, command: &Command) -> Result<(), Box<CommandError>> {
        if core.draining {
            Err(draining_error())
        } else if self.revoked_sessions.contains_key(&*identity.session_id) {
            Err(invalid_token())
        } else if command.kind().connection_only() {
            Err(error(ErrorCode::InvalidRequest, "this command needs a connection"))
        } else {
            Ok(())
        }
    }

    /// The store has found the caller.
    pub fn http_identity_loaded(&mut self, core: &mut Core, ticket: u64, result: Result<Loaded, LoadError>) {
        let Some(HttpWaiting { identity, command }) = self.http.remove(&ticket) else { return };
        match result {
            Ok(Loaded::User(Some(user))) => {
                let caller = self.remember_identity(core, &identity, &user).caller(&identity);
                self.http_forward(core, ticket, &identity, caller, command);
            }
            Ok(_) => self.http_reply(core, ticket, Err(invalid_token())),
            Err(_) => self.http_reply(core, ticket, Err(store_unavailable())),
        }
    }

    fn http_forward(
        &mut self,
        core: &mut Core,
        ticket: u64,
        identity: &Identity,
        caller: Caller,
        command: Box<Command>,
    ) {
        if self.is_revoked(identity, caller.user_id) {
            return self.http_reply(core, ticket, Err(invalid_token()));
        }
        let home = caller.user_id.home(core.shards);
        if !core.peer_has_room(home) {
            return self.http_reply(core, ticket, Err(overloaded()));
        }
        let origin = Origin { asker: Asker::Http { shard: core.id, ticket }, id: None };
        let (session_id, expires_at) = (identity.session_id.clone(), identity.expires_at);
        core.send(home, PeerMessage::Command { origin, caller, session_id, expires_at, command });
    }

    /// The answer goes to the control thread.
    pub(super) fn http_reply(&mut self, core: &mut Core, ticket: u64, result: Outcome) {
        if let Err(error) = &result {
            core.stats.errors[error.code as usize] += 1;
        }
        let result = result.map(|reply| reply.data);
        core.effects.push_back(Effect::HttpReply { ticket, result });
    }
}
