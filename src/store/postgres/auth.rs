//! Own users and their sessions. Each request is one statement, so that it can share a connection with queries.

use tokio_postgres::Error;
use veza_engine::id::UserId;
use veza_engine::store::{Revocation, SessionRow};
use veza_engine::time::WallMs;

use super::connect::{Fault, Session, fault};
use super::plan::{Planned, int, planned};
use super::rows::{boxed, uint, user};
use crate::store::shared::{OWN_ISSUER, REVOCATION_KEPT_S, skeleton};
use crate::store::{AuthAnswer, AuthError, AuthRequest};

const REGISTER: &str = "INSERT INTO users (user_id, iss, sub, username, skeleton, email, password_hash, created_at)
     SELECT id, $1, id::text, $2, $3, $4, $5, $6 FROM nextval('users_user_id_seq') AS id
     RETURNING user_id, username, role, created_at";
const FIND_LOGIN: &str = "SELECT user_id, username, role, created_at, password_hash FROM users
     WHERE skeleton = $1 AND iss = $2 AND password_hash IS NOT NULL";
const START_SESSION: &str = "WITH s AS (INSERT INTO sessions (session_id, user_id, created_at, last_used_at, expires_at) VALUES ($1, $2, $3, $3, $4))
     INSERT INTO refresh_tokens (hash, session_id, expires_at) VALUES ($5, $1, $4)";
const ROTATE: &str = "SELECT r.o_answer, r.o_user, r.o_session, u.user_id, u.username, u.role, u.created_at
     FROM veza_rotate($1, $2, $3, $4, $5) AS r LEFT JOIN users u ON u.user_id = r.o_user";
const FORGET: &str =
    "WITH r AS (DELETE FROM revocations WHERE expires_at < $1), t AS (DELETE FROM refresh_tokens WHERE expires_at < $1)
     DELETE FROM sessions WHERE expires_at < $1";
const REVOKED_SESSIONS: &str = "SELECT session_id, expires_at FROM revocations ORDER BY session_id";
const REVOKED_USERS: &str = "SELECT user_id, before FROM user_revocations ORDER BY user_id";
const SESSIONS: &str =
    "SELECT session_id, created_at, last_used_at, expires_at FROM sessions WHERE user_id = $1 AND expires_at > $2
     ORDER BY created_at DESC, session_id";

// Sessions of this user only: the `sid` of a foreign token may be anything.
const REVOKE_SESSION: &str =
    "WITH s AS (DELETE FROM sessions WHERE session_id = $1 AND user_id = $2 RETURNING session_id),
       t AS (DELETE FROM refresh_tokens t USING s WHERE t.session_id = s.session_id)
     INSERT INTO revocations AS r (session_id, user_id, expires_at) VALUES ($1, $2, $3)
     ON CONFLICT (session_id) DO UPDATE SET expires_at = greatest(r.expires_at, excluded.expires_at)";
const REVOKE_USER: &str = "WITH s AS (DELETE FROM sessions WHERE user_id = $1 RETURNING session_id),
       t AS (DELETE FROM refresh_tokens t USING s WHERE t.session_id = s.session_id)
     INSERT INTO user_revocations AS r (user_id, before) VALUES ($1, $2)
     ON CONFLICT (user_id) DO UPDATE SET before = greatest(r.before, excluded.before)";

/// The statement of a `RevokeSession` in a batch.
pub(super) fn revoke_session(session_id: &str, user_id: UserId, expires_at: i64) -> Planned {
    planned!(REVOKE_SESSION, session_id.to_owned(), int(user_id.0), expires_at)
}

/// The statement of a `RevokeUser` in a batch.
pub(super) fn revoke_user(user_id: UserId, before: i64) -> Planned {
    planned!(REVOKE_USER, int(user_id.0), before)
}

/// The user's own live sessions, newest first.
pub(super) async fn sessions(session: &Session, user_id: UserId, now: WallMs) -> Result<Vec<SessionRow>, Error> {
    let rows = session.query(SESSIONS, &[&int(user_id.0), &now.secs()]).await?;
    let row = |row: &tokio_postgres::Row| SessionRow {
        session_id: boxed(row, 0),
        created_at: WallMs(row.get(1)),
        last_used_at: WallMs(row.get(2)),
        expires_at: row.get(3),
    };
    Ok(rows.iter().map(row).collect())
}

/// Carries out a request. `Err` where the database did not do it, or may have.
pub(super) async fn answer(session: &Session, request: &AuthRequest) -> Result<Result<AuthAnswer, AuthError>, Error> {
    match request {
        AuthRequest::Register { username, password_hash, email, now } => {
            let hash: &str = password_hash;
            let name: &str = username;
            let made = session
                .query_opt(REGISTER, &[&OWN_ISSUER, &name, &skeleton(name), &email.as_deref(), &hash, &now.0])
                .await;
            match made {
                Ok(row) => Ok(row.map(|row| AuthAnswer::User(user(&row, 0))).ok_or(AuthError::Failed)),
                Err(error) if fault(&error) == Fault::Unique => Ok(Err(AuthError::UsernameTaken)),
                Err(error) => Err(error),
            }
        }
        AuthRequest::FindLogin { username } => {
            let row = session.query_opt(FIND_LOGIN, &[&skeleton(username), &OWN_ISSUER]).await?;
            Ok(Ok(AuthAnswer::Login(row.map(|row| (user(&row, 0), boxed(&row, 4))))))
        }
        AuthRequest::StartSession { user_id, session_id, refresh_hash, now, expires_at } => {
            let (id, hash): (&str, &[u8]) = (session_id, refresh_hash);
            session.query(START_SESSION, &[&id, &int(user_id.0), &now.0, expires_at, &hash]).await?;
            Ok(Ok(AuthAnswer::Done))
        }
        AuthRequest::Rotate { refresh_hash, new_hash, now, expires_at, revoke_until } => {
            let (old, new): (&[u8], &[u8]) = (refresh_hash, new_hash);
            let row = session.query_opt(ROTATE, &[&old, &new, &now.0, expires_at, revoke_until]).await?;
            Ok(row.map(|row| rotated(&row)).ok_or(AuthError::Failed))
        }
        AuthRequest::Revocations { now } => revocations(session, *now).await.map(Ok),
    }
}

fn rotated(row: &tokio_postgres::Row) -> AuthAnswer {
    match row.get::<_, &str>(0) {
        "rotated" => AuthAnswer::Rotated { user: user(row, 3), session_id: boxed(row, 2) },
        "reused" => AuthAnswer::Reused { user_id: UserId(uint(row, 1)), session_id: boxed(row, 2) },
        _ => AuthAnswer::Unknown,
    }
}

async fn revocations(session: &Session, now: WallMs) -> Result<AuthAnswer, Error> {
    session.query(FORGET, &[&(now.secs() - REVOCATION_KEPT_S)]).await?;
    let sessions = session.query(REVOKED_SESSIONS, &[]).await?;
    let users = session.query(REVOKED_USERS, &[]).await?;
    let sessions = sessions.iter().map(|row| Revocation::Session { session_id: boxed(row, 0), expires_at: row.get(1) });
    let users = users.iter().map(|row| Revocation::User { user_id: UserId(uint(row, 0)), before: row.get(1) });
    Ok(AuthAnswer::Revocations(sessions.chain(users).collect()))
}
