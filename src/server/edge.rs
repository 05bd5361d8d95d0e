//! What the gateway of one shard asks of the process: the store, tokens, the API.

use std::io::Write;
use std::sync::Arc;

use tokio::sync::mpsc;
use veza_engine::id::ShardId;
use veza_engine::input::{Identity, TokenError};
use veza_engine::store::{Batch, Load};
use veza_engine::wire::CommandError;

use crate::api::Handed;
use crate::auth::token::Verifier;
use crate::gateway::{Backend, HandOver};
use crate::store::Store;

/// A command's ticket and outcome.
pub type HttpReply = (u64, Result<Vec<u8>, Box<CommandError>>);

/// For a socket that finds the API's queue full. Not a problem document of the API's making: it never got there.
const BUSY: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/problem+json\r\nRetry-After: 1\r\n\
Content-Length: 144\r\nConnection: close\r\n\r\n\
{\"type\":\"/docs#OVERLOADED\",\"title\":\"Service Unavailable\",\"status\":503,\"detail\":\"too many HTTP connections\",\
\"code\":\"OVERLOADED\",\"retryable\":true}";

/// The process as one shard's gateway sees it.
#[derive(Clone)]
pub struct ShardEdge {
    /// Which shard.
    pub shard: ShardId,
    /// The database.
    pub store: Store,
    /// Checks tokens.
    pub verifier: Arc<Verifier>,
    /// To the control thread; bounded by the tickets that it gives out.
    pub replies: mpsc::UnboundedSender<HttpReply>,
    /// To the control thread.
    pub sockets: mpsc::Sender<Handed>,
}

impl Backend for ShardEdge {
    fn store(&mut self, batch: Box<Batch>) {
        self.store.submit(self.shard, batch);
    }

    fn load(&mut self, id: u64, load: Load) {
        self.store.load(self.shard, id, load);
    }

    fn verify(&mut self, token: &str, now: i64) -> Result<Box<Identity>, TokenError> {
        self.verifier.verify(token, now).map(Box::new)
    }

    fn http_reply(&mut self, ticket: u64, result: Result<Vec<u8>, Box<CommandError>>) {
        // The control thread is gone only when the process is ending.
        let _ = self.replies.send((ticket, result));
    }

    fn hand_over(&mut self, socket: HandOver) {
        let HandOver { stream, bytes, peer } = socket;
        if let Err(refused) = self.sockets.try_send((stream, bytes, peer)) {
            let (stream, ..) = refused.into_inner();
            // A fresh socket has room for this; one that has not gets nothing.
            let _ = (&stream).write(BUSY);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_busy_answer_is_one_whole_response() {
        let text = std::str::from_utf8(BUSY).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("Content-Length: {}", body.len())), "{} bytes", body.len());
        let problem: serde_json::Value = serde_json::from_str(body).unwrap();
        assert_eq!((&problem["status"], &problem["code"]), (&503.into(), &"OVERLOADED".into()));
    }
}
