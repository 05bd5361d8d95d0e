//! Configuration: defaults, a TOML file, `.env`, and `VEZA_SECTION__KEY` variables, each overriding the one before.
//! What is unknown or wrong is refused with its place; nothing here touches the network.

mod check;
mod render;
mod schema;
mod secret;
mod section;
mod source;
pub mod value;

pub use check::{Warning, make_directory};
pub use schema::{Database, Engine, Limits, Logging, Retention, Search, Security, Server};
pub use secret::{DatabaseUrl, Secret};
pub use value::{Environment, JwtAlgorithm, LogFormat, LogLevel};

use section::Section;
use source::Sources;
use std::fmt;
use std::path::Path;
use std::time::Duration;

/// Everything that an operator can set. `Debug` shows no secret.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// The process and its sockets.
    pub server: Server,
    /// Where everything durable is kept.
    pub database: Database,
    /// Tokens and own users.
    pub security: Security,
    /// What clients may take.
    pub limits: Limits,
    /// Queues, batches and caches.
    pub engine: Engine,
    /// What is removed, and when.
    pub retention: Retention,
    /// Full-text search.
    pub search: Search,
    /// Logs.
    pub logging: Logging,
}

/// Why a configuration is refused: every reason, each with its place.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConfigError {
    /// One line each, such as `veza.toml:4: limits.max_frame_bytes: got a string, expected …`.
    pub problems: Vec<String>,
}

impl ConfigError {
    /// One reason.
    pub fn one(problem: impl Into<String>) -> ConfigError {
        ConfigError { problems: vec![problem.into()] }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.problems.join("\n"))
    }
}

impl std::error::Error for ConfigError {}

impl Config {
    /// Reads the configuration: `path` if there is one, `.env` in the working directory, the environment.
    ///
    /// # Errors
    /// Every unknown key, wrong value and refused combination, with its place.
    pub fn load(path: Option<&Path>) -> Result<(Config, Vec<Warning>), ConfigError> {
        Config::load_from(Sources::of_process(path))
    }

    fn load_from(sources: Sources<'_>) -> Result<(Config, Vec<Warning>), ConfigError> {
        let mut config = Config::default();
        let mut problems = Vec::new();
        sources.apply(&mut config, &mut problems);
        // The combinations of values that could not be read say nothing.
        let warnings = if problems.is_empty() { check::check(&mut config, &mut problems) } else { Vec::new() };
        if problems.is_empty() { Ok((config, warnings)) } else { Err(ConfigError { problems }) }
    }

    fn sections(&self) -> [&dyn Section; 8] {
        [
            &self.server,
            &self.database,
            &self.security,
            &self.limits,
            &self.engine,
            &self.retention,
            &self.search,
            &self.logging,
        ]
    }

    fn sections_mut(&mut self) -> [&mut dyn Section; 8] {
        [
            &mut self.server,
            &mut self.database,
            &mut self.security,
            &mut self.limits,
            &mut self.engine,
            &mut self.retention,
            &mut self.search,
            &mut self.logging,
        ]
    }

    /// A complete configuration file with the defaults and the meaning of every setting.
    pub fn default_toml() -> String {
        render::render(&Config::default())
    }

    /// The engine's bounds as configured.
    pub fn engine_limits(&self) -> veza_engine::limits::Limits {
        let Config { server, database, limits, engine, .. } = self;
        veza_engine::limits::Limits {
            max_message_length: or_endless(limits.max_message_length),
            max_connections_per_user: limits.max_connections_per_user,
            max_messages_per_minute: limits.max_messages_per_minute,
            messages_burst: limits.messages_burst,
            commands_per_second: limits.commands_per_second,
            commands_burst: limits.commands_burst,
            max_members_per_room: or_endless(limits.max_members_per_room),
            edit_window_us: micros(limits.edit_window),
            max_reactions_per_message: limits.max_reactions_per_message,
            max_pins_per_room: limits.max_pins_per_room,
            max_roles_per_room: limits.max_roles_per_room,
            max_mentions: limits.max_mentions,
            max_rooms_per_user: limits.max_rooms_per_user,
            max_subscriptions: limits.max_subscriptions,
            resume_events: limits.resume_events,
            outbox_bytes: limits.outbox_bytes,
            outbox_shard_bytes: limits.outbox_shard_bytes,
            malformed_frames: limits.malformed_frames,
            heartbeat_us: micros(server.heartbeat_interval),
            auth_timeout_us: micros(server.auth_timeout),
            store_wait_us: micros(database.query_timeout),
            inflight_per_conn_max: engine.commands_in_flight,
            reply_bytes_max: engine.reply_bytes,
            journal_ops_max: engine.journal_operations,
            journal_bytes_max: engine.journal_bytes,
            journal_ops_per_user_max: engine.journal_operations_per_user,
            batch_ops_max: engine.batch_operations,
            batch_bytes_max: engine.batch_bytes,
            lanes: database.write_lanes,
            loads_max: engine.queries,
            ring_events: engine.room_cache_events,
            ring_bytes: engine.room_cache_bytes,
            room_idle_us: micros(engine.room_idle),
            typing_max: engine.room_typing,
            identities_max: engine.identities,
            ..veza_engine::limits::Limits::default()
        }
    }
}

/// A count of 0 is none; the engine's own has no such case, but a number beyond reach that fits a database's integer.
fn or_endless(count: u32) -> u32 {
    if count == 0 { i32::MAX.unsigned_abs() } else { count }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
