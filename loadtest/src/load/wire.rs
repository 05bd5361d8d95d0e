//! What coordinator and workers tell each other: one JSON object a line.

use super::scenario::Scenario;
use crate::check::Violations;
use crate::result::{Counts, Second};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::SocketAddr;

/// The first line to a worker: the whole plan, and which part of it is its own.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Order {
    /// The scenario.
    pub scenario: Scenario,
    /// The server.
    pub addr: SocketAddr,
    /// What signs tokens.
    pub secret: String,
    /// Names this run in users and contents.
    pub run: String,
    /// Which worker, from 0.
    pub worker: usize,
    /// Of how many.
    pub workers: usize,
    /// Ids of the rooms, by their number in the plan; none for conversations, which the clients make.
    pub rooms: Vec<u64>,
}

/// Further lines to a worker.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Control {
    /// The warm-up begins at this time.
    Begin {
        /// CLOCK_MONOTONIC, ns.
        at_ns: u64,
    },
    /// Nothing new is to be sent.
    Stop,
    /// All workers are quiet: compare the histories and report.
    Verify,
}

/// Lines of a worker.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Report {
    /// All its clients are connected and in their rooms.
    Ready,
    /// A second is over.
    Second(SecondReport),
    /// The load has ended; everything is answered, and all clients are back.
    Quiet,
    /// The end.
    Done(Box<DoneReport>),
    /// The run cannot be made.
    Failed(String),
}

/// One second of one worker.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct SecondReport {
    /// Which, from the start of the warm-up.
    pub index: u64,
    /// What was counted; times and what the server says are the coordinator's to fill in.
    pub counted: Second,
    /// A histogram in base64; empty without values.
    pub ack: String,
    /// The same.
    pub delivery: String,
    /// CPU time of the worker since the load began.
    pub cpu_ns: u64,
}

/// What a worker has found.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct DoneReport {
    /// Connections when the warm-up was over.
    pub connections: u64,
    /// Of the measured time.
    pub counts: Counts,
    /// Histograms in base64, by name.
    pub latency: BTreeMap<String, String>,
    /// CPU time in the measured time, ns.
    pub cpu_ns: u64,
    /// Broken guarantees.
    pub violations: Violations,
    /// Events checked.
    pub checked_events: u64,
    /// What a reader should know.
    pub notes: Vec<String>,
}
