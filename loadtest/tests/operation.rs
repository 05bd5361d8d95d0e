//! What operators do: the internal port, the end of a server whose database is stuck.

use std::net::SocketAddr;

use serde_json::json;
use veza_loadtest::client::Client;
use veza_loadtest::http;
use veza_loadtest::pg::TestPg;
use veza_loadtest::server::{Options, Server, free_port};

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn an_internal_port_has_the_metrics_for_itself() {
    let internal = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let options = Options::with(&[("server.internal_addr", &internal.to_string())]);
    let mut server = Server::start(options);
    for (path, public, inside) in
        [("/metrics", 404, 200), ("/health/ready", 200, 200), ("/", 200, 404), ("/docs", 200, 404)]
    {
        assert_eq!(http::get(server.addr(), path, None).await.expect("an answer").status, public, "{path}");
        assert_eq!(http::get(internal, path, None).await.expect("an answer").status, inside, "{path} inside");
    }
    server.terminate();
    assert!(tokio::task::block_in_place(|| server.wait_for_end()).success());
}

/// One message is on its way into a database that does not answer: there is nothing more that a server can do for it,
/// and its sender has no acknowledgement.
async fn stuck_server(pg: &TestPg, timeout: &str) -> (Server, Client) {
    let options = Options::with(&[("server.shutdown_timeout", timeout)]);
    let server = Server::start(Options { database: Some(pg.url()), ..options });
    let token = server.token("writer");
    let mut client = Client::connect(server.addr(), &token).await.expect("in");
    let room = client.call("create_room", json!({"name": "stuck"})).await.expect("a room").data["room_id"].clone();
    client.call("send_message", json!({"room_id": room, "content": "one"})).await.expect("stored");
    pg.pause();
    client.send("send_message", json!({"room_id": room, "content": "two"})).await.expect("sent");
    // Answered at once by the shard, which has read the message before.
    client.call("ping", json!({})).await.expect("a pong");
    (server, client)
}

/// Connections with commands under way are let wait for them for a while; then they are told to come back.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_stuck_database_does_not_keep_the_server_from_ending() {
    let pg = TestPg::start();
    let (mut server, mut client) = stuck_server(&pg, "8s").await;
    server.terminate();
    assert_eq!(client.close_code().await.expect("an end"), Some(3000));
    assert!(tokio::task::block_in_place(|| server.wait_for_end()).success());
    assert!(server.log().contains("not everything was written in time"), "{}", server.log());
    pg.resume();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_second_signal_does_not_wait() {
    let pg = TestPg::start();
    // Longer than the test would wait.
    let (mut server, mut client) = stuck_server(&pg, "10m").await;
    server.terminate();
    assert_eq!(client.close_code().await.expect("an end"), Some(3000));
    server.terminate();
    let status = tokio::task::block_in_place(|| server.wait_for_end());
    assert_eq!(status.code(), Some(1), "{}", server.log());
    pg.resume();
}
