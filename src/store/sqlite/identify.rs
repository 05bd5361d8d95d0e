//! Who a token speaks for: finding (readers, many at once), making and renaming (the writer).

use rusqlite::{Connection, Error, OptionalExtension, params};
use veza_engine::id::UserId;
use veza_engine::input::Identity;
use veza_engine::store::UserRow;

use super::rows::{self, Prepare as _, USER};
use super::{account, load_user};
use crate::store::report::wall_now;
use crate::store::shared::{fallback_username, skeleton, username_allowed};

/// What a reader found of an identity.
pub(super) enum Found {
    /// The user, whose name is what it will be.
    Known(UserRow),
    /// A user whose claim names a free name.
    Rename,
    /// No such pair.
    Unknown,
}

/// One query for all of them, answers in their order.
pub(super) fn find<'a>(
    connection: &Connection,
    asked: impl Iterator<Item = &'a Identity> + Clone,
) -> Result<Vec<Found>, Error> {
    let wanted: Vec<_> = asked.clone().map(|id| (&*id.iss, &*id.sub, claim(id).map(skeleton))).collect();
    let count = wanted.len();
    let wanted = serde_json::to_string(&wanted).map_err(|error| Error::ToSqlConversionFailure(error.into()))?;
    let sql = format!(
        "SELECT {USER}, holder.user_id FROM json_each(?1) j
             LEFT JOIN users u ON u.iss = j.value ->> 0 AND u.sub = j.value ->> 1
             LEFT JOIN users holder ON holder.skeleton = j.value ->> 2
         ORDER BY j.key"
    );
    let found = rows::all(connection, &sql, [wanted], |row| {
        if rows::opt_uint(row, 0)?.is_none() {
            return Ok((None, None));
        }
        Ok((Some(rows::user(row, 0)?), rows::opt_uint(row, 4)?))
    })?;
    assert_eq!(found.len(), count, "a pair and a name have one user at most");
    let judge = |(identity, (user, holder)): (&Identity, (Option<UserRow>, Option<u64>))| match user {
        None => Found::Unknown,
        Some(user) => match claim(identity) {
            Some(claim) if *claim != *user.username && holder.is_none_or(|id| id == user.user_id.0) => Found::Rename,
            _ => Found::Known(user),
        },
    };
    Ok(asked.zip(found).map(judge).collect())
}

fn claim(identity: &Identity) -> Option<&str> {
    identity.username.as_deref().filter(|name| username_allowed(name))
}

/// Finds, makes or renames, by what is there now.
pub(super) fn provision(connection: &Connection, identity: &Identity) -> Result<UserRow, Error> {
    let sql = format!("SELECT {USER} FROM users u WHERE u.iss = ?1 AND u.sub = ?2");
    let known = connection
        .prepared(&sql)?
        .query_row(params![&*identity.iss, &*identity.sub], |row| rows::user(row, 0))
        .optional()?;
    if let Some(mut user) = known {
        if let Some(claim) = claim(identity)
            && *claim != *user.username
            && free_for(connection, claim, user.user_id)?
        {
            connection
                .prepared("UPDATE users SET username = ?2, skeleton = ?3 WHERE user_id = ?1")?
                .execute(params![user.user_id.0 as i64, claim, skeleton(claim)])?;
            user.username = claim.into();
        }
        return Ok(user);
    }
    let user_id = UserId(account::reserve(connection, "user", 1)?);
    let mut username = None;
    if let Some(claim) = claim(identity)
        && free_for(connection, claim, user_id)?
    {
        username = Some(claim.to_owned());
    }
    for attempt in 0.. {
        if username.is_some() {
            break;
        }
        let name = fallback_username(user_id.0, attempt);
        if free_for(connection, &name, user_id)? {
            username = Some(name);
        }
    }
    let username = username.unwrap_or_default();
    connection
        .prepared(
            "INSERT INTO users (user_id, iss, sub, username, skeleton, role, created_at)
             VALUES (?1, ?2, ?3, ?4, ?5, 'user', ?6)",
        )?
        .execute(params![
            user_id.0 as i64,
            &*identity.iss,
            &*identity.sub,
            username,
            skeleton(&username),
            wall_now().0
        ])?;
    load_user::by_id(connection, user_id)?.ok_or(Error::QueryReturnedNoRows)
}

/// Whether nobody else has a name like this.
pub(super) fn free_for(connection: &Connection, username: &str, user_id: UserId) -> Result<bool, Error> {
    let holder: Option<i64> = connection
        .prepared("SELECT user_id FROM users WHERE skeleton = ?1")?
        .query_row([skeleton(username)], |row| row.get(0))
        .optional()?;
    Ok(holder.is_none_or(|holder| holder as u64 == user_id.0))
}
