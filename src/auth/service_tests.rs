//! The flow of registration, login and refresh over accounts in memory.

use super::service::*;
use super::token::Verifier;
use crate::config::{Config, Secret};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{SystemTime, UNIX_EPOCH};
use veza_engine::id::UserId;
use veza_engine::store::{Revocation, UserRow};
use veza_engine::wire::ErrorCode;

const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

#[derive(Default)]
struct State {
    users: Vec<(UserRow, Box<str>)>,
    /// Refresh hash → (user index, session, used).
    refresh: HashMap<RefreshHash, (usize, Box<str>, bool)>,
    ended: Vec<Box<str>>,
    down: bool,
}

#[derive(Clone, Default)]
struct Memory(Arc<Mutex<State>>);

impl Memory {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }
    fn answer<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut State) -> Result<T, AccountError>,
    ) -> BoxFuture<'_, Result<T, AccountError>> {
        let mut state = self.state();
        let answer = if state.down { Err(AccountError::Unavailable) } else { work(&mut state) };
        std::future::ready(answer).boxed()
    }
}

impl Accounts for Memory {
    fn register(&self, new: NewAccount) -> BoxFuture<'_, Result<UserRow, AccountError>> {
        self.answer(|state| {
            if state.users.iter().any(|(user, _)| user.username.eq_ignore_ascii_case(&new.username)) {
                return Err(AccountError::Taken);
            }
            let user_id = UserId(100 + state.users.len() as u64);
            let user = UserRow { user_id, username: new.username, role: "moderator".into(), created_at: new.now };
            state.users.push((user.clone(), new.password_hash));
            Ok(user)
        })
    }
    fn find(&self, username: Box<str>) -> BoxFuture<'_, Result<Option<Login>, AccountError>> {
        self.answer(|state| {
            Ok(state.users.iter().find(|(user, _)| user.username.eq_ignore_ascii_case(&username)).cloned())
        })
    }
    fn start_session(&self, new: NewSession) -> BoxFuture<'_, Result<(), AccountError>> {
        self.answer(|state| {
            let user = state.users.iter().position(|(user, _)| *user == new.user).unwrap();
            state.refresh.insert(new.refresh_hash, (user, new.session_id, false));
            Ok(())
        })
    }
    fn rotate(&self, rotation: Rotation) -> BoxFuture<'_, Result<Rotated, AccountError>> {
        self.answer(|state| {
            let Some((user, session_id, used)) = state.refresh.get_mut(&rotation.refresh_hash) else {
                return Ok(Rotated::Unknown);
            };
            let (user, session_id, reused) = (*user, session_id.clone(), std::mem::replace(used, true));
            if state.ended.contains(&session_id) {
                return Ok(Rotated::Unknown);
            }
            if reused {
                state.ended.push(session_id.clone());
                return Ok(Rotated::Reused { session_id });
            }
            state.refresh.insert(rotation.new_hash, (user, session_id.clone(), false));
            Ok(Rotated::Done { user: state.users[user].0.clone(), session_id })
        })
    }
}

struct World {
    service: AuthService,
    memory: Memory,
    revoked: Arc<Mutex<Vec<Revocation>>>,
    verifier: Verifier,
}

fn world(logins_per_minute: u32) -> World {
    let mut config = Config::default();
    config.security.jwt_secret = Secret::new("0123456789abcdef0123456789abcdef");
    config.limits.logins_per_minute = logins_per_minute;
    let (memory, revoked) = (Memory::default(), Arc::new(Mutex::new(Vec::new())));
    let told = revoked.clone();
    let service = AuthService::new(&config, memory.clone(), move |what| told.lock().unwrap().push(what)).unwrap();
    World { service, memory, revoked, verifier: Verifier::new(&config).unwrap() }
}

const ANN: &[u8] = br#"{"username":"Ann","password":"correct horse","email":"ann@example.com"}"#;

fn refresh_body(token: &str) -> Vec<u8> {
    serde_json::json!({ "refresh_token": token }).to_string().into_bytes()
}

fn session_of(world: &World, grant: &Grant) -> Box<str> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let identity = world.verifier.verify(&grant.access_token, i64::try_from(now).unwrap()).unwrap();
    (&*identity.session_id).into()
}

#[tokio::test]
async fn a_user_registers_and_logs_in() {
    let world = world(0);
    let first = world.service.register(HERE, ANN).await.unwrap();
    assert_eq!((first.user_id, &*first.username, first.expires_in), (100, "Ann", 900));
    let again = world.service.login(HERE, br#"{"username":"ann","password":"correct horse"}"#).await.unwrap();
    assert_eq!((again.user_id, &*again.username), (100, "Ann"));
    assert_ne!(session_of(&world, &first), session_of(&world, &again), "each login is a session");

    let now = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()).unwrap();
    let identity = world.verifier.verify(&again.access_token, now).unwrap();
    assert_eq!((&*identity.iss, &*identity.sub, identity.role.name()), ("veza", "100", "moderator"));
    // The answer has the fields of the protocol and no other: no e-mail address above all.
    let shown = serde_json::to_value(&first).unwrap();
    let fields: Vec<&str> = shown.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(fields, ["access_token", "expires_in", "refresh_token", "user_id", "username"]);
}

#[tokio::test]
async fn what_is_wrong_is_refused_without_saying_which_part() {
    let world = world(0);
    world.service.register(HERE, ANN).await.unwrap();
    let mut messages = Vec::new();
    for body in [
        &br#"{"username":"ann","password":"wrong horse"}"#[..],
        br#"{"username":"bob","password":"correct horse"}"#,
        br#"{"username":"a b","password":"correct horse"}"#,
        br#"{"username":"ann","password":""}"#,
        br#"{"username":"ann' OR 1=1 --","password":"correct horse"}"#,
    ] {
        let error = world.service.login(HERE, body).await.unwrap_err();
        assert_eq!(error.code, ErrorCode::InvalidCredentials);
        messages.push(error.message);
    }
    messages.dedup();
    assert_eq!(messages.len(), 1);

    let taken = world.service.register(HERE, br#"{"username":"ANN","password":"another horse"}"#).await.unwrap_err();
    assert_eq!((taken.code, taken.field), (ErrorCode::Conflict, Some("username")));
}

#[tokio::test]
async fn refresh_tokens_rotate_and_a_reuse_ends_the_session() {
    let world = world(0);
    let first = world.service.register(HERE, ANN).await.unwrap();
    let session = session_of(&world, &first);
    let second = world.service.refresh(&refresh_body(&first.refresh_token)).await.unwrap();
    assert_eq!(session_of(&world, &second), session, "the same session");
    assert_ne!(second.refresh_token, first.refresh_token);
    let other = world.service.login(HERE, br#"{"username":"ann","password":"correct horse"}"#).await.unwrap();

    let reuse = world.service.refresh(&refresh_body(&first.refresh_token)).await.unwrap_err();
    assert_eq!(reuse.code, ErrorCode::InvalidCredentials);
    {
        let revoked = world.revoked.lock().unwrap();
        assert!(matches!(&revoked[..], [Revocation::Session { session_id, .. }] if *session_id == session));
    }
    let after = world.service.refresh(&refresh_body(&second.refresh_token)).await.unwrap_err();
    assert_eq!(after.code, ErrorCode::InvalidCredentials, "the newest token of the ended session as well");
    world.service.refresh(&refresh_body(&other.refresh_token)).await.unwrap();
    assert_eq!(world.revoked.lock().unwrap().len(), 1, "another session lives");
}

#[tokio::test]
async fn tokens_are_stored_as_hashes_alone() {
    let world = world(0);
    let grant = world.service.register(HERE, ANN).await.unwrap();
    let hash: RefreshHash = Sha256::digest(&grant.refresh_token).into();
    assert_eq!(grant.refresh_token.len(), 43, "256 bits");
    assert!(world.memory.state().refresh.contains_key(&hash));
    assert!(world.memory.state().users[0].1.starts_with("$argon2id$"));
    for token in ["", "x", &grant.access_token[..100]] {
        let error = world.service.refresh(&refresh_body(token)).await.unwrap_err();
        assert_eq!(error.code, ErrorCode::InvalidCredentials, "{token}");
    }
}

#[tokio::test]
async fn registrations_and_logins_of_an_address_are_counted_together() {
    let world = world(2);
    world.service.register(HERE, ANN).await.unwrap();
    world.service.login(HERE, b"{}").await.unwrap_err();
    for error in
        [world.service.login(HERE, ANN).await.unwrap_err(), world.service.register(HERE, ANN).await.unwrap_err()]
    {
        assert_eq!(error.code, ErrorCode::RateLimitExceeded);
        assert!(error.retry_after_ms.is_some_and(|wait| wait > 0 && wait <= 30_001), "{error:?}");
    }
    world.service.login(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)), ANN).await.unwrap();
}

#[tokio::test]
async fn an_absent_database_is_told_apart_from_wrong_credentials() {
    let world = world(0);
    let grant = world.service.register(HERE, ANN).await.unwrap();
    world.memory.state().down = true;
    for error in [
        world.service.login(HERE, ANN).await.unwrap_err(),
        world.service.register(HERE, ANN).await.unwrap_err(),
        world.service.refresh(&refresh_body(&grant.refresh_token)).await.unwrap_err(),
    ] {
        assert_eq!(error.code, ErrorCode::StoreUnavailable);
        assert!(error.retryable());
    }
}
