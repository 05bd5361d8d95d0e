//! A server (and database) of a run's own.

use super::{Scenario, Target};
use crate::fault::Store;
use crate::pg::TestPg;
use crate::server::{Options, SECRET, Server};

/// A server for one scenario. It ends when this is dropped.
pub struct Own {
    /// For [`super::run`].
    pub target: Target,
    /// The server.
    pub server: Server,
    /// Its database, where that is PostgreSQL.
    pub pg: Option<TestPg>,
}

impl Own {
    /// Starts a server without limits on users and rates, with the scenario's settings, and with so many shards (as many
    /// as it has by default, where none are named).
    pub fn start(store: Store, scenario: &Scenario, shards: Option<u32>) -> Own {
        let options = Options::unlimited().and(&[("limits.max_members_per_room", "1000000")]);
        let mut options = options.and(&[("limits.handshakes", "100000"), ("server.shards", "0")]);
        if scenario.compression {
            options = options.and(&[("server.compression", "true")]);
        }
        options.settings.extend(scenario.server.clone());
        if let Some(shards) = shards {
            options.settings.push(("server.shards".into(), shards.to_string()));
        }
        Own::start_with(store, options)
    }

    /// Starts a server with these options over that store.
    pub fn start_with(store: Store, options: Options) -> Own {
        let pg = (store == Store::Postgres).then(TestPg::start);
        let server = Server::start(Options { database: pg.as_ref().map(TestPg::url), ..options });
        let target = Target {
            pid: Some(server.pid()),
            database_pid: pg.as_ref().and_then(TestPg::pid),
            ..Target::new(server.addr(), SECRET)
        };
        Own { target, server, pg }
    }
}
