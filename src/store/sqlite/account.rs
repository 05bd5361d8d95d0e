//! The server's own users and their sessions, and blocks of ids: writes of the control thread, in the writer's
//! transactions.

use rusqlite::{Connection, Error, OptionalExtension, params};
use veza_engine::id::UserId;
use veza_engine::store::{Revocation, UserRow};
use veza_engine::time::WallMs;

use super::rows::Prepare as _;
use super::{batch, identify, load_user, rows, write};
use crate::store::auth::RefreshHash;
use crate::store::shared::{OWN_ISSUER, REVOCATION_KEPT_S, skeleton};
use crate::store::{AuthAnswer, AuthError, AuthRequest};

/// A block of ids; answers the first.
pub(super) fn reserve(connection: &Connection, name: &str, count: u32) -> Result<u64, Error> {
    connection
        .prepared("UPDATE id_blocks SET next = next + ?2 WHERE name = ?1 RETURNING next - ?2")?
        .query_row(params![name, count], |row| rows::uint(row, 0))
}

/// Serves one request in a savepoint, so that a refused one leaves nothing. An error is one of the database itself.
pub(super) fn serve(connection: &Connection, request: &AuthRequest) -> Result<Result<AuthAnswer, AuthError>, Error> {
    connection.execute_batch("SAVEPOINT request")?;
    let answer = match apply(connection, request) {
        Err(error) if batch::guilty(&error) => {
            tracing::error!(%error, "the database refuses a request about an account");
            connection.execute_batch("ROLLBACK TO request")?;
            Err(AuthError::Failed)
        }
        answer => answer?,
    };
    connection.execute_batch("RELEASE request")?;
    Ok(answer)
}

fn apply(connection: &Connection, request: &AuthRequest) -> Result<Result<AuthAnswer, AuthError>, Error> {
    Ok(match request {
        AuthRequest::Register { username, password_hash, email, now } => {
            register(connection, username, password_hash, email.as_deref(), *now)?
        }
        AuthRequest::FindLogin { username } => Ok(AuthAnswer::Login(load_user::login(connection, username)?)),
        AuthRequest::StartSession { user_id, session_id, refresh_hash, now, expires_at } => {
            forget(connection, FORGET_SESSIONS_OF, user_id.0 as i64, *now)?;
            connection
                .prepared(
                    "INSERT INTO sessions (session_id, user_id, created_at, last_used_at, expires_at)
                     VALUES (?1, ?2, ?3, ?3, ?4)",
                )?
                .execute(params![session_id, user_id.0 as i64, now.0, expires_at])?;
            put_token(connection, refresh_hash, session_id, *expires_at)?;
            Ok(AuthAnswer::Done)
        }
        AuthRequest::Rotate { refresh_hash, new_hash, now, expires_at, revoke_until } => {
            Ok(rotate(connection, refresh_hash, new_hash, *now, *expires_at, *revoke_until)?)
        }
        AuthRequest::Revocations { now } => Ok(AuthAnswer::Revocations(revocations(connection, now.secs())?)),
    })
}

fn register(
    connection: &Connection,
    username: &str,
    password_hash: &str,
    email: Option<&str>,
    now: WallMs,
) -> Result<Result<AuthAnswer, AuthError>, Error> {
    // 0 is nobody's id: taken by whomever, it is taken.
    if !identify::free_for(connection, username, UserId(0))? {
        return Ok(Err(AuthError::UsernameTaken));
    }
    let user_id = reserve(connection, "user", 1)?;
    connection
        .prepared(
            "INSERT INTO users (user_id, iss, sub, username, skeleton, role, email, password_hash, created_at)
             VALUES (?1, ?2, ?3, ?4, ?5, 'user', ?6, ?7, ?8)",
        )?
        .execute(params![
            user_id as i64,
            OWN_ISSUER,
            user_id.to_string(),
            username,
            skeleton(username),
            email,
            password_hash,
            now.0
        ])?;
    let user = load_user::by_id(connection, UserId(user_id))?.ok_or(Error::QueryReturnedNoRows)?;
    Ok(Ok(AuthAnswer::User(user)))
}

/// What has ended of a user or session goes when there is news of it, so that nothing grows with the years.
const FORGET_SESSIONS_OF: &str = "DELETE FROM sessions WHERE user_id = ?1 AND expires_at < ?2";
/// See [`FORGET_SESSIONS_OF`].
const FORGET_TOKENS_OF: &str = "DELETE FROM refresh_tokens WHERE session_id = ?1 AND expires_at < ?2";

fn forget(connection: &Connection, sql: &str, of: impl rusqlite::ToSql, now: WallMs) -> Result<(), Error> {
    connection.prepared(sql)?.execute(params![of, now.secs()]).map(|_| ())
}

fn put_token(connection: &Connection, hash: &RefreshHash, session_id: &str, expires_at: i64) -> Result<(), Error> {
    connection
        .prepared("INSERT INTO refresh_tokens (hash, session_id, expires_at) VALUES (?1, ?2, ?3)")?
        .execute(params![hash.as_slice(), session_id, expires_at])
        .map(|_| ())
}

fn rotate(
    connection: &Connection,
    hash: &RefreshHash,
    new_hash: &RefreshHash,
    now: WallMs,
    expires_at: i64,
    revoke_until: i64,
) -> Result<AuthAnswer, Error> {
    let sql = "SELECT u.user_id, u.username, u.role, u.created_at, s.session_id, t.used
               FROM refresh_tokens t JOIN sessions s USING (session_id) JOIN users u USING (user_id)
               WHERE t.hash = ?1 AND t.expires_at > ?2";
    let found: Option<(UserRow, Box<str>, bool)> = connection
        .prepared(sql)?
        .query_row(params![hash.as_slice(), now.secs()], |row| {
            Ok((rows::user(row, 0)?, rows::text(row, 4)?, row.get(5)?))
        })
        .optional()?;
    let Some((user, session_id, used)) = found else { return Ok(AuthAnswer::Unknown) };
    if used {
        write::revoke_session(connection, &session_id, user.user_id, revoke_until)?;
        return Ok(AuthAnswer::Reused { user_id: user.user_id, session_id });
    }
    connection.prepared("UPDATE refresh_tokens SET used = 1 WHERE hash = ?1")?.execute([hash.as_slice()])?;
    put_token(connection, new_hash, &session_id, expires_at)?;
    forget(connection, FORGET_TOKENS_OF, &session_id, now)?;
    connection
        .prepared("UPDATE sessions SET last_used_at = ?2, expires_at = ?3 WHERE session_id = ?1")?
        .execute(params![session_id, now.0, expires_at])?;
    Ok(AuthAnswer::Rotated { user, session_id })
}

/// Forgets what has ended, answers the rest.
fn revocations(connection: &Connection, now: i64) -> Result<Vec<Revocation>, Error> {
    for sql in [
        "DELETE FROM revocations WHERE expires_at < ?1",
        "DELETE FROM refresh_tokens WHERE expires_at < ?1",
        "DELETE FROM sessions WHERE expires_at < ?1",
    ] {
        connection.execute(sql, [now - REVOCATION_KEPT_S])?;
    }
    let mut found = rows::all(connection, "SELECT session_id, expires_at FROM revocations ORDER BY 1", [], |row| {
        Ok(Revocation::Session { session_id: rows::text(row, 0)?, expires_at: row.get(1)? })
    })?;
    found.extend(rows::all(connection, "SELECT user_id, before FROM user_revocations ORDER BY 1", [], |row| {
        Ok(Revocation::User { user_id: UserId(rows::uint(row, 0)?), before: row.get(1)? })
    })?);
    Ok(found)
}
