//! Connections: tokens, deadlines, what is counted, draining.

use veza_engine::Input;
use veza_engine::deflate::Window;
use veza_engine::fanout::{Frame, Outbox, encode_frame};
use veza_engine::id::ConnId;
use veza_engine::store::{Load, LoadError, Loaded, Revocation};
use veza_engine::wire::CloseCode;

use crate::rig::{Rig, code, identity, kinds};

#[test]
fn a_second_token_while_the_first_is_verified_is_refused() {
    let mut rig = Rig::new(1, |_| {});
    let conn = rig.open(0, None);
    rig.hold_tokens = true;
    rig.text(conn, r#"{"type":"authenticate","id":1,"data":{"token":"ada"}}"#);
    rig.text(conn, r#"{"type":"authenticate","id":2,"data":{"token":"bob"}}"#);
    rig.text(conn, r#"{"type":"get_unread","id":3}"#);
    rig.hold_tokens = false;
    rig.run();
    assert_eq!(kinds(&rig.frames(conn)), ["INVALID_REQUEST", "auth_success", "unread"]);
    assert_eq!(rig.shards[0].stats().authenticated, 1);
    rig.input(0, Input::Closed { conn, code: None });
    assert_eq!(rig.shards[0].stats().authenticated, 0);
}

#[test]
fn a_refused_authenticate_is_answered_under_its_id() {
    let revoke = |rig: &mut Rig| {
        let revocation = Revocation::Session { session_id: "session of ada".into(), expires_at: i64::MAX / 2 };
        rig.input(0, Input::Revoked(revocation));
    };
    for (situation, token, expected, close) in [
        ("bad", "bad", "INVALID_TOKEN", CloseCode::InvalidToken),
        ("expired", "old", "TOKEN_EXPIRED", CloseCode::TokenExpired),
        ("revoked", "ada", "INVALID_TOKEN", CloseCode::SessionRevoked),
        ("unknown", "ada", "INVALID_TOKEN", CloseCode::InvalidToken),
        ("no store", "ada", "STORE_UNAVAILABLE", CloseCode::ServerError),
    ] {
        let mut rig = Rig::new(1, |_| {});
        if situation == "revoked" {
            revoke(&mut rig);
        }
        let conn = rig.open(0, None);
        rig.hold_loads = true;
        rig.text(conn, &format!(r#"{{"type":"authenticate","id":"x","data":{{"token":"{token}"}}}}"#));
        for (shard, id, load) in std::mem::take(&mut rig.loads) {
            assert!(matches!(load, Load::Identify { .. }));
            let result = if situation == "unknown" { Ok(Loaded::User(None)) } else { Err(LoadError::Unavailable) };
            rig.loaded(shard, id, result);
        }
        rig.run();
        let frames = rig.frames(conn);
        assert_eq!(kinds(&frames), [expected], "{situation}");
        assert_eq!(frames[0]["id"], "x", "{situation}");
        assert_eq!(rig.closed[&conn.slot], close, "{situation}");
    }
}

#[test]
fn a_good_token_that_the_store_keeps_waiting_may_come_back() {
    let mut rig = Rig::new(1, |_| {});
    let silent = rig.open(0, None);
    rig.hold_loads = true;
    let waiting = rig.open(0, Some(identity("ada", "s")));
    rig.pass(11);
    assert_eq!(rig.closed[&silent.slot], CloseCode::AuthTimeout);
    assert_eq!(rig.closed[&waiting.slot], CloseCode::ServerError);
}

#[test]
fn outbox_bytes_are_given_back_whatever_they_were() {
    let mut rig = Rig::new(1, |_| {});
    let (ada, bob) = (rig.connect(0, "ada"), rig.connect(0, "bob"));
    let room = rig.room(ada);
    rig.ask(bob, "join_room", &format!(r#"{{"room_id":{room}}}"#));
    rig.blocked = true;
    for conn in [ada, bob] {
        rig.shards[0].push_control(conn, Frame::new(encode_frame(0x8A, b"pong")));
        rig.say(conn, "send_message", &format!(r#"{{"room_id":{room},"content":"hello"}}"#));
    }
    assert!(rig.shards[0].stats().outbox_bytes > 0);
    rig.input(0, Input::Closed { conn: bob, code: None });
    rig.blocked = false;
    rig.say(ada, "ping", "{}");
    rig.pass(30); // the server's own pings
    assert_eq!(rig.shards[0].stats().outbox_bytes, 0);
}

#[test]
fn a_drain_closes_those_too_who_come_after_it() {
    let mut rig = Rig::new(1, |_| {});
    let ada = rig.connect(0, "ada");
    rig.input(0, Input::Drain { reconnect_after_ms: 1000 });
    assert_eq!(kinds(&rig.frames(ada)), ["draining"]);
    let refused = rig.ask(ada, "get_unread", "{}");
    assert_eq!((code(&refused), &refused["data"]["retryable"]), ("DRAINING", &true.into()));
    assert_eq!(rig.http(0, "ada", "get_unread", "{}").unwrap_err().code.name(), "DRAINING");
    rig.pass(1);
    assert_eq!(rig.closed[&ada.slot], CloseCode::Draining);
    let late = rig.open(0, Some(identity("ada", "s")));
    rig.pass(1);
    assert_eq!(rig.closed[&late.slot], CloseCode::Draining);
    assert_eq!(rig.shards[0].stats().connections, 0);
}

#[test]
fn sessions_that_end_are_closed_on_every_shard() {
    let mut rig = Rig::new(2, |_| {});
    let conns: Vec<ConnId> = [0, 1].into_iter().map(|shard| rig.connect(shard, "ada")).collect();
    let other = rig.connect(1, "bob");
    assert_eq!(kinds(&[rig.ask(conns[0], "logout", "{}")]), ["logged_out"]);
    for conn in conns {
        assert_eq!(rig.closed[&conn.slot], CloseCode::SessionRevoked);
    }
    assert!(!rig.closed.contains_key(&other.slot));
    assert_eq!(rig.http(0, "ada", "get_unread", "{}").unwrap_err().code.name(), "INVALID_TOKEN");
    let again = rig.open(0, Some(identity("ada", "session of ada")));
    assert_eq!(rig.closed[&again.slot], CloseCode::SessionRevoked);
}

#[test]
fn a_token_that_ends_is_announced_and_closes() {
    let mut rig = Rig::new(1, |limits| limits.heartbeat_us = 0);
    let conn = rig.connect(0, "ada");
    rig.pass(839);
    assert_eq!(kinds(&rig.frames(conn)), Vec::<String>::new());
    rig.pass(2);
    assert_eq!(kinds(&rig.frames(conn)), ["token_expiring"]);
    assert_eq!(kinds(&[rig.ask(conn, "refresh_token", r#"{"token":"bob"}"#)]), ["INVALID_TOKEN"]);
    rig.pass(60);
    assert_eq!(rig.closed[&conn.slot], CloseCode::TokenExpired);
}

/// Two shards, and a room with receivers of every kind on both: all read the same, and what is counted for an outbox is what
/// will be written.
#[test]
fn who_takes_compressed_frames_gets_the_same_in_fewer_bytes() {
    let mut rig = Rig::new(2, |_| {});
    let ada = rig.connect(0, "ada");
    let room = rig.room(ada);
    let mut receivers = Vec::new();
    for (number, window) in [15, 15, 9, 12, 0, 0].into_iter().enumerate() {
        rig.window = Window(window);
        let conn = rig.connect(number % 2, &format!("receiver {number}"));
        rig.ask(conn, "join_room", &format!(r#"{{"room_id":{room}}}"#));
        receivers.push((conn, window));
    }
    rig.pass(2);
    receivers.iter().for_each(|(conn, _)| drop(rig.frames(*conn)));
    rig.blocked = true;
    let content = "what is said again and again, ".repeat(50);
    rig.say(ada, "send_message", &format!(r#"{{"room_id":{room},"content":"{content}"}}"#));
    let bytes =
        |rig: &Rig, conn: ConnId| rig.shards[usize::from(conn.shard.0)].outbox(conn).map_or(0, Outbox::push_bytes);
    let plain = bytes(&rig, receivers[5].0);
    assert!(plain > content.len());
    for (conn, window) in &receivers {
        let counted = bytes(&rig, *conn);
        // All of it fits into a window of 2^12, not into one of 2^9.
        assert_eq!(counted < plain / 3, *window >= 12, "window {window}: {counted} of {plain} bytes");
    }
    let stats: Vec<_> = rig.shards.iter_mut().map(|shard| shard.stats().clone()).collect();
    let sum = |value: fn(&veza_engine::stats::Stats) -> u64| stats.iter().map(value).sum::<u64>();
    assert_eq!(sum(|stats| stats.packed_deliveries), 3);
    assert_eq!(sum(|stats| stats.packed_frames), 1, "one shard compresses for all");
    let (all, replies) = receivers.iter().map(|(conn, _)| *conn).chain([ada]).fold((0, 0), |(all, replies), conn| {
        let outbox = rig.shards[usize::from(conn.shard.0)].outbox(conn).expect("open");
        (all + outbox.push_bytes() + outbox.reply_bytes(), replies + outbox.reply_bytes())
    });
    assert_eq!(sum(|stats| stats.outbox_bytes), all as u64, "{replies} bytes of replies");
    rig.blocked = false;
    for (conn, window) in receivers {
        rig.say(conn, "ping", "{}");
        let frames = rig.frames(conn);
        assert_eq!(frames[0]["data"]["content"], *content, "window {window}");
        assert_eq!(frames[0]["type"], "message");
    }
    rig.say(ada, "ping", "{}");
    assert!(rig.shards.iter_mut().all(|shard| shard.stats().outbox_bytes == 0));
}
