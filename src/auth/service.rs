//! Registering, logging in and refreshing: the server's own users. Runs on the control thread; nothing here blocks it.

use super::limiter::Limiter;
use super::password::{PasswordPool, PoolError};
use super::token::{Issuer, LEEWAY_S, Subject};
use super::{random_hex, request};
use crate::config::Config;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures_util::future::BoxFuture;
use serde::Serialize;
use sha2::{Digest, Sha256};
use std::borrow::Cow;
use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use veza_engine::input::Role;
use veza_engine::store::{Revocation, UserRow};
use veza_engine::time::WallMs;
use veza_engine::wire::{CommandError, ErrorCode};

/// Milliseconds after which somebody who found the password threads busy may come again.
const BUSY_RETRY_MS: u64 = 1000;

/// SHA-256 of a refresh token: all that is stored of it.
pub type RefreshHash = [u8; 32];

/// A user with the hash of the password.
pub type Login = (UserRow, Box<str>);

/// What is kept of the server's own users; the database answers, or says that it does not.
pub trait Accounts: Send + Sync + 'static {
    /// A new user, known to tokens as ("veza", user id in decimal).
    fn register(&self, account: NewAccount) -> BoxFuture<'_, Result<UserRow, AccountError>>;
    /// The user of this name, in whatever case, with the hash of the password.
    fn find(&self, username: Box<str>) -> BoxFuture<'_, Result<Option<Login>, AccountError>>;
    /// A session with its first refresh token.
    fn start_session(&self, session: NewSession) -> BoxFuture<'_, Result<(), AccountError>>;
    /// Trades a refresh token for the next; one that was used before ends its session in the same transaction.
    fn rotate(&self, rotation: Rotation) -> BoxFuture<'_, Result<Rotated, AccountError>>;
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccountError {
    /// The username is somebody's.
    Taken,
    /// The database does not answer.
    Unavailable,
    /// A fault of ours, in the log.
    Failed,
}

/// A user to be.
pub struct NewAccount {
    /// Of the allowed form.
    pub username: Box<str>,
    /// PHC string.
    pub password_hash: Box<str>,
    /// As given.
    pub email: Option<Box<str>>,
    /// When.
    pub now: WallMs,
}

/// A session to be.
pub struct NewSession {
    /// Whose.
    pub user: UserRow,
    /// `sid` of its tokens.
    pub session_id: Box<str>,
    /// Of its refresh token.
    pub refresh_hash: RefreshHash,
    /// When.
    pub now: WallMs,
    /// End of the refresh token, Unix seconds.
    pub expires_at: i64,
}

/// A refresh token to be traded.
pub struct Rotation {
    /// Of the token that came.
    pub refresh_hash: RefreshHash,
    /// Of the one that takes its place.
    pub new_hash: RefreshHash,
    /// When.
    pub now: WallMs,
    /// End of the new token, Unix seconds.
    pub expires_at: i64,
    /// How long a revocation must be kept if this is a reuse, Unix seconds.
    pub revoke_until: i64,
}

/// What became of it.
pub enum Rotated {
    /// The new one is stored.
    Done {
        /// Whose.
        user: UserRow,
        /// Of which session.
        session_id: Box<str>,
    },
    /// It had been used before: its session is over.
    Reused {
        /// Which.
        session_id: Box<str>,
    },
    /// There is none, or it has ended, or its session is over.
    Unknown,
}

/// What a client gets.
#[derive(Debug, Serialize)]
pub struct Grant {
    /// The user.
    pub user_id: u64,
    /// By name.
    pub username: Box<str>,
    /// For `Authorization: Bearer`, `authenticate` and `refresh_token`.
    pub access_token: String,
    /// For `/api/v1/auth/refresh`, once.
    pub refresh_token: String,
    /// Seconds until the access token ends.
    pub expires_in: u64,
}

/// Registration, login and refresh.
pub struct AuthService {
    accounts: Box<dyn Accounts>,
    passwords: PasswordPool,
    tokens: Issuer,
    limiter: Mutex<Limiter>,
    refresh: Duration,
    deadline: Duration,
    revoked: Box<dyn Fn(Revocation) + Send + Sync>,
}

impl AuthService {
    /// `revoked` is told of every session that a reused refresh token ended, and has to tell every shard.
    ///
    /// # Errors
    /// The password threads cannot be started.
    pub fn new(
        config: &Config,
        accounts: impl Accounts,
        revoked: impl Fn(Revocation) + Send + Sync + 'static,
    ) -> io::Result<AuthService> {
        Ok(AuthService {
            accounts: Box::new(accounts),
            passwords: PasswordPool::new(config.security.password_threads, config.security.password_queue)?,
            tokens: Issuer::new(config),
            limiter: Mutex::new(Limiter::new(config.limits.logins_per_minute)),
            refresh: config.security.jwt_refresh_duration,
            deadline: config.database.query_timeout,
            revoked: Box::new(revoked),
        })
    }

    /// `POST /api/v1/auth/register`.
    ///
    /// # Errors
    /// `INVALID_JSON`, `INVALID_REQUEST`, `CONFLICT` for a taken name, `RATE_LIMIT_EXCEEDED`, `STORE_UNAVAILABLE`.
    pub async fn register(&self, address: IpAddr, body: &[u8]) -> Result<Grant, CommandError> {
        self.take_try(address)?;
        let asked = request::registration(body)?;
        let password_hash = self.passwords.hash(&asked.password).await.map_err(pool_error)?.into();
        let request::Registration { username, email, .. } = asked;
        let account = NewAccount { username, password_hash, email, now: now() };
        let user = self.answer(self.accounts.register(account)).await?;
        self.open_session(user).await
    }

    /// `POST /api/v1/auth/login`. An unknown name takes as long as a wrong password.
    ///
    /// # Errors
    /// `INVALID_JSON`, `INVALID_REQUEST`, `INVALID_CREDENTIALS`, `RATE_LIMIT_EXCEEDED`, `STORE_UNAVAILABLE`.
    pub async fn login(&self, address: IpAddr, body: &[u8]) -> Result<Grant, CommandError> {
        self.take_try(address)?;
        let asked = request::credentials(body)?;
        // What no user can have is not asked for, and its length not worked on.
        if !super::username_allowed(&asked.username) || !request::PASSWORD_BYTES.contains(&asked.password.len()) {
            return Err(wrong_credentials());
        }
        let found = self.answer(self.accounts.find(asked.username)).await?;
        let hash = found.as_ref().map(|(_, hash)| &**hash);
        let good = self.passwords.verify(&asked.password, hash).await.map_err(pool_error)?;
        match found {
            Some((user, _)) if good => self.open_session(user).await,
            _ => Err(wrong_credentials()),
        }
    }

    /// `POST /api/v1/auth/refresh`. A token that was used before ends its session.
    ///
    /// # Errors
    /// `INVALID_JSON`, `INVALID_REQUEST`, `INVALID_CREDENTIALS`, `STORE_UNAVAILABLE`.
    pub async fn refresh(&self, body: &[u8]) -> Result<Grant, CommandError> {
        let refresh_hash = Sha256::digest(request::refresh_token(body)?).into();
        let (refresh_token, new_hash) = new_refresh_token();
        let now = now();
        let revoke_until = self.end(now, self.tokens.access_duration()) + LEEWAY_S + 1;
        let expires_at = self.end(now, self.refresh);
        let rotation = Rotation { refresh_hash, new_hash, now, expires_at, revoke_until };
        match self.answer(self.accounts.rotate(rotation)).await? {
            Rotated::Done { user, session_id } => Ok(self.grant(&user, &session_id, refresh_token, now)),
            Rotated::Unknown => Err(wrong_refresh_token()),
            Rotated::Reused { session_id } => {
                tracing::warn!(session_id = &*session_id, "a refresh token came twice: its session is over");
                (self.revoked)(Revocation::Session { session_id, expires_at: revoke_until });
                Err(wrong_refresh_token())
            }
        }
    }

    async fn open_session(&self, user: UserRow) -> Result<Grant, CommandError> {
        let (refresh_token, refresh_hash) = new_refresh_token();
        let session_id: Box<str> = random_hex::<16>().into();
        let now = now();
        let grant = self.grant(&user, &session_id, refresh_token, now);
        let expires_at = self.end(now, self.refresh);
        let session = NewSession { user, session_id, refresh_hash, now, expires_at };
        self.answer(self.accounts.start_session(session)).await?;
        Ok(grant)
    }

    fn grant(&self, user: &UserRow, session_id: &str, refresh_token: String, now: WallMs) -> Grant {
        let sub = user.user_id.0.to_string();
        let role = Role::from_name(&user.role);
        let subject = Subject { sub: &sub, username: Some(&user.username), role };
        let (access_token, _) = self.tokens.access(subject, session_id, now.secs());
        let expires_in = self.tokens.access_duration().as_secs();
        Grant { user_id: user.user_id.0, username: user.username.clone(), access_token, refresh_token, expires_in }
    }

    fn end(&self, now: WallMs, life: Duration) -> i64 {
        now.secs().saturating_add(i64::try_from(life.as_secs()).unwrap_or(i64::MAX))
    }

    fn take_try(&self, address: IpAddr) -> Result<(), CommandError> {
        let mut limiter = self.limiter.lock().unwrap_or_else(PoisonError::into_inner);
        limiter.take(address, Instant::now()).map_err(|wait| {
            // Rounded up, so that who waits that long finds a try.
            let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX).saturating_add(1);
            too_many("too many logins from this address", wait_ms)
        })
    }

    async fn answer<T>(&self, asked: BoxFuture<'_, Result<T, AccountError>>) -> Result<T, CommandError> {
        let unavailable = || CommandError::new(ErrorCode::StoreUnavailable, "the database does not answer");
        match tokio::time::timeout(self.deadline, asked).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(AccountError::Taken)) => Err(CommandError {
                field: Some("username"),
                ..CommandError::new(ErrorCode::Conflict, "this username is taken")
            }),
            Ok(Err(AccountError::Unavailable)) | Err(_) => Err(unavailable()),
            Ok(Err(AccountError::Failed)) => Err(fault("the database refused a request about accounts")),
        }
    }
}

/// 256 random bits for the client, and their hash for the database.
fn new_refresh_token() -> (String, RefreshHash) {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).expect("the operating system gives random bytes");
    let token = URL_SAFE_NO_PAD.encode(bytes);
    let hash = Sha256::digest(&token).into();
    (token, hash)
}

fn now() -> WallMs {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    WallMs(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

fn wrong_credentials() -> CommandError {
    CommandError::new(ErrorCode::InvalidCredentials, "wrong username or password")
}

fn wrong_refresh_token() -> CommandError {
    CommandError::new(ErrorCode::InvalidCredentials, "this refresh token is not valid: log in again")
}

fn too_many(message: impl Into<Cow<'static, str>>, retry_after_ms: u64) -> CommandError {
    CommandError { retry_after_ms: Some(retry_after_ms), ..CommandError::new(ErrorCode::RateLimitExceeded, message) }
}

fn pool_error(error: PoolError) -> CommandError {
    match error {
        PoolError::Busy => too_many("too many logins at once", BUSY_RETRY_MS),
        PoolError::Failed => fault("a password could not be hashed"),
    }
}

/// A fault of ours, under an id that the log and the client share.
fn fault(what: &str) -> CommandError {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).expect("the operating system gives random bytes");
    // Below 2^53, as every integer that clients read.
    let error_id = u64::from_le_bytes(bytes) >> 11;
    tracing::error!(error_id, what, "internal error");
    CommandError { error_id: Some(error_id), ..CommandError::new(ErrorCode::Internal, "internal error") }
}

/// For the composition root: shared by all handlers.
pub type SharedAuth = Arc<AuthService>;
