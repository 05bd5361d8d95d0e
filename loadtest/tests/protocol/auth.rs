//! Ways in, tokens that are refused, the life of a session.

use serde_json::{Value, json};
use std::time::{Duration, Instant};
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use veza_loadtest::client::{Client, upgrade_request};
use veza_loadtest::server::SECRET;
use veza_loadtest::testing::{fresh, number, shape, standard};
use veza_loadtest::{http, token};

/// The protocol promises a second; the rest is the slack of a machine that does too much. Nothing else would end the
/// connection by then.
const REVOKED_WITHIN: Duration = Duration::from_secs(20);
const AUTH_SUCCESS: &str = "user_id username role session_id server_time expires_at ping_interval_ms limits";

#[tokio::test]
async fn header_query_and_first_frame_all_lead_in() {
    let server = standard();
    let good = server.token(&fresh("ways"));
    let header = Client::connect(server.addr(), &good).await.expect("by header");
    shape(&header.me, AUTH_SUCCESS);
    let by_query = format!("ws://{}/ws?token={good}", server.addr()).into_client_request().expect("a URL");
    let mut query = Client::connect_with(server.addr(), by_query).await.expect("by query");
    query.wait_for_auth().await.expect("by query");
    let mut frame =
        Client::connect_with(server.addr(), upgrade_request(server.addr(), None)).await.expect("no token yet");
    let reply = frame.call("authenticate", json!({"token": good})).await.expect("by frame");
    assert_eq!(reply.kind, "auth_success");
    shape(&reply.data, AUTH_SUCCESS);
    for me in [&query.me, &reply.data] {
        assert_eq!((&me["user_id"], &me["session_id"]), (&header.me["user_id"], &header.me["session_id"]));
    }
    assert_eq!(header.me["role"], "user");
    assert_eq!(header.me["limits"]["max_message_length"], 2000);
}

#[tokio::test]
async fn subprotocol_is_answered_if_offered() {
    let server = standard();
    for (offered, answered) in
        [("veza.v1.json", Some("veza.v1.json")), ("chat, veza.v1.json", Some("veza.v1.json")), ("chat", None)]
    {
        let good = server.token("subprotocol");
        let request = format!(
            "GET /ws HTTP/1.1\r\nHost: {}\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nAuthorization: Bearer {good}\r\nSec-WebSocket-Protocol: {offered}\r\n\r\n",
            server.addr()
        );
        // A Close frame right behind it ends the exchange.
        let mut bytes = request.into_bytes();
        bytes.extend(veza_loadtest::raw::frame(0x88, &1000_u16.to_be_bytes()));
        let answer = http::raw(server.addr(), &bytes).await.expect("an answer");
        let head = http::Response::parse(&answer).expect("a head");
        assert_eq!((head.status, head.header("sec-websocket-protocol")), (101, answered), "{offered}");
    }
}

fn bad_tokens() -> Vec<(&'static str, String)> {
    use jsonwebtoken::Algorithm;
    let now = token::unix_seconds();
    let claims = json!({"sub": "mallory", "exp": now + 3600});
    let hs256 = |claims: Value| token::sign(SECRET, &claims);
    let good = hs256(claims.clone());
    let (message, _) = good.rsplit_once('.').expect("three parts");
    vec![
        ("nothing", String::new()),
        ("no token", "nonsense".into()),
        ("another secret", token::sign("another secret of 32 bytes or more!", &claims)),
        ("alg none", token::forge(&json!({"alg": "none"}), &claims, None)),
        ("alg none, signed", token::forge(&json!({"alg": "none"}), &claims, Some((SECRET, Algorithm::HS256)))),
        ("HS512", token::forge(&json!({"alg": "HS512"}), &claims, Some((SECRET, Algorithm::HS512)))),
        ("says RS256, is HS256", token::forge(&json!({"alg": "RS256"}), &claims, Some((SECRET, Algorithm::HS256)))),
        ("no signature", format!("{message}.")),
        ("two parts", message.to_owned()),
        ("no exp", hs256(json!({"sub": "mallory"}))),
        ("exp is text", hs256(json!({"sub": "mallory", "exp": "tomorrow"}))),
        ("ended", hs256(json!({"sub": "mallory", "exp": now - 60}))),
        ("not yet", hs256(json!({"sub": "mallory", "exp": now + 3600, "nbf": now + 600}))),
        ("no sub", hs256(json!({"exp": now + 3600}))),
        ("empty sub", hs256(json!({"sub": "", "exp": now + 3600}))),
        ("long sub", hs256(json!({"sub": "x".repeat(129), "exp": now + 3600}))),
        ("a refresh token", hs256(json!({"sub": "mallory", "exp": now + 3600, "typ": "refresh"}))),
        ("huge", hs256(json!({"sub": "mallory", "exp": now + 3600, "x": "x".repeat(5000)}))),
    ]
}

#[tokio::test]
async fn bad_tokens_are_refused_everywhere() {
    let server = standard();
    let addr = server.addr();
    for (what, bad) in bad_tokens() {
        let response = http::command(addr, &bad, "get_unread", &json!({})).await.expect("an answer");
        assert_eq!(response.status, 401, "HTTP, {what}: {}", response.json());
        let query = format!(
            "GET /ws?token={bad} HTTP/1.1\r\nHost: {addr}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        let answer = http::raw(addr, query.as_bytes()).await.expect("an answer");
        let answer = http::Response::parse(&answer).expect("a whole answer");
        let code = answer.json()["code"].as_str().unwrap_or("(none)").to_owned();
        assert_eq!(answer.status, 401, "upgrade, {what}: {code}");
        assert!(["INVALID_TOKEN", "TOKEN_EXPIRED"].contains(&code.as_str()), "{what}: {code}");
        assert_eq!(code == "TOKEN_EXPIRED", what == "ended", "{what}");

        let mut client = Client::connect_with(addr, upgrade_request(addr, None)).await.expect("an upgrade");
        let error = client.call("authenticate", json!({"token": bad})).await.expect_err(what);
        assert!(
            ["INVALID_TOKEN", "TOKEN_EXPIRED", "INVALID_REQUEST"].contains(&error.code().as_str()),
            "{what}: {error:?}"
        );
    }
    Client::connect(addr, &server.token("mallory")).await.expect("the real one still gets in");
}

/// The error comes first, then the close code, so that both kinds of client understand.
#[tokio::test]
async fn a_bad_token_in_the_first_frame_closes_with_3500() {
    let addr = standard().addr();
    let mut client = Client::connect_with(addr, upgrade_request(addr, None)).await.expect("an upgrade");
    let bad =
        token::sign("another secret of 32 bytes or more!", &json!({"sub": "x", "exp": token::unix_seconds() + 60}));
    assert_eq!(client.call("authenticate", json!({"token": bad})).await.expect_err("bad").code(), "INVALID_TOKEN");
    assert_eq!(client.close_code().await.expect("an end"), Some(3500));
}

#[tokio::test]
async fn a_pair_of_issuer_and_subject_is_one_user() {
    let server = standard();
    let sub = fresh("pair");
    let claims = |iss: &str| json!({"sub": sub, "iss": iss, "exp": token::unix_seconds() + 600});
    let mut ids = Vec::new();
    for token in
        [server.token(&sub), server.token(&sub), token::sign(SECRET, &claims("a")), token::sign(SECRET, &claims("b"))]
    {
        ids.push(Client::connect(server.addr(), &token).await.expect("a good token").user_id());
    }
    assert_eq!(ids[0], ids[1]);
    assert!(ids[1] != ids[2] && ids[2] != ids[3] && ids[1] != ids[3], "{ids:?}");
}

#[tokio::test]
async fn a_username_is_taken_once_and_a_later_free_one_renames() {
    let server = standard();
    let (name, sub) = (fresh("Name"), fresh("renamed"));
    let first = Client::connect(server.addr(), &token::named(SECRET, &fresh("first"), &name)).await.expect("good");
    assert_eq!(first.me["username"], json!(name));
    let second = Client::connect(server.addr(), &token::named(SECRET, &sub, &name)).await.expect("good");
    assert_eq!(second.me["username"], json!(format!("user{}", second.user_id())));
    for bad in ["x", "white space", "naïve", "a/b"] {
        let odd = Client::connect(server.addr(), &token::named(SECRET, &fresh("odd"), bad)).await.expect("good");
        assert_eq!(odd.me["username"], json!(format!("user{}", odd.user_id())), "{bad}");
    }
    let free = fresh("Free");
    let renamed = Client::connect(server.addr(), &token::named(SECRET, &sub, &free)).await.expect("good");
    assert_eq!((renamed.user_id(), &renamed.me["username"]), (second.user_id(), &json!(free)));
}

#[tokio::test]
async fn a_connection_lives_as_long_as_its_token_and_can_be_given_a_new_one() {
    let server = standard();
    let (sub, now) = (fresh("short"), token::unix_seconds());
    let short = || token::sign(SECRET, &json!({"sub": sub, "exp": now + 2, "sid": fresh("sid")}));
    let mut ends = Client::connect(server.addr(), &short()).await.expect("good");
    let mut stays = Client::connect(server.addr(), &short()).await.expect("good");
    for client in [&mut ends, &mut stays] {
        let push = client.push_of("token_expiring").await.expect("at once: less than 60 s are left");
        shape(&push.data, "expires_at");
    }
    let other = server.token(&fresh("other"));
    assert_eq!(stays.err("refresh_token", json!({"token": other})).await, "INVALID_TOKEN");
    assert_eq!(stays.err("refresh_token", json!({"token": "nonsense"})).await, "INVALID_TOKEN");
    stays.ok("refresh_token", json!({"token": server.token(&sub)})).await;
    assert_eq!(ends.close_code().await.expect("an end"), Some(3001));
    stays.still_fine().await;
}

/// Two sessions of one user, and a token of each.
async fn two_sessions() -> [(Client, String); 2] {
    let server = standard();
    let sub = fresh("sessions");
    let session = || token::sign(SECRET, &json!({"sub": sub, "exp": token::unix_seconds() + 600, "sid": fresh("sid")}));
    let (first, second) = (session(), session());
    let connect = |token: String| async move { (Client::connect(server.addr(), &token).await.expect("good"), token) };
    [connect(first).await, connect(second).await]
}

#[tokio::test]
async fn a_revoked_session_ends_everywhere_at_once() {
    let addr = standard().addr();
    let [(mut me, _), (mut other, token)] = two_sessions().await;
    let sessions = me.ok("list_sessions", json!({})).await;
    assert!(sessions["sessions"].to_string().contains(other.me["session_id"].as_str().expect("text")), "{sessions}");
    let revoked = Instant::now();
    me.ok("revoke_session", json!({"session_id": other.me["session_id"]})).await;
    assert_eq!(other.close_code().await.expect("an end"), Some(3505));
    assert!(revoked.elapsed() < REVOKED_WITHIN, "{:?}", revoked.elapsed());
    let response = http::command(addr, &token, "get_unread", &json!({})).await.expect("an answer");
    assert_eq!((response.status, &response.json()["code"]), (401, &json!("INVALID_TOKEN")));
    // The shards may learn of it after the upgrade; nobody is let in.
    match Client::connect_with(addr, upgrade_request(addr, Some(&token))).await {
        Ok(mut client) => assert_eq!(client.close_code().await.expect("an end"), Some(3505)),
        Err(error) => assert!(format!("{error:?}").contains("401"), "{error:?}"),
    }
    me.still_fine().await;
    assert_eq!(me.err("revoke_session", json!({"session_id": "no such session"})).await, "NOT_FOUND");
}

#[tokio::test]
async fn logout_ends_this_session_or_all() {
    for everywhere in [false, true] {
        let [(mut me, token), (mut other, _)] = two_sessions().await;
        me.ok("logout", json!({"everywhere": everywhere})).await;
        assert_eq!(me.close_code().await.expect("an end"), Some(3505));
        let response = http::command(standard().addr(), &token, "get_unread", &json!({})).await.expect("an answer");
        assert_eq!(response.status, 401);
        if everywhere {
            assert_eq!(other.close_code().await.expect("an end"), Some(3505));
        } else {
            other.still_fine().await;
        }
    }
}

/// Another user's session is none of ours.
#[tokio::test]
async fn sessions_of_others_are_out_of_reach() {
    let [(mut me, _), _] = two_sessions().await;
    let [(mut stranger, _), _] = two_sessions().await;
    let session = stranger.me["session_id"].clone();
    assert_eq!(me.err("revoke_session", json!({"session_id": session})).await, "NOT_FOUND");
    stranger.still_fine().await;
    assert!(number(&me.me, "user_id") != number(&stranger.me, "user_id"));
}
