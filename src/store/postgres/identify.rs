//! Who a token speaks for: many at a time, so that a storm of clients costs a few queries.

use std::collections::{HashMap, HashSet};

use tokio_postgres::{Error, Row};
use veza_engine::input::Identity;
use veza_engine::store::UserRow;

use super::connect::{Fault, Session, fault};
use super::rows::{boxed, user};
use crate::store::shared::{skeleton, username_allowed};

const FIND: &str = "SELECT u.user_id, u.username, u.role, u.created_at, u.iss, u.sub
     FROM unnest($1::text[], $2::text[]) AS a(iss, sub) JOIN users u ON u.iss = a.iss AND u.sub = a.sub";
/// A name that is taken leaves its user out; so does another connection that made the user first. $6 is what follows
/// `user<id>` where there is no name.
const PROVISION: &str = "INSERT INTO users (user_id, iss, sub, username, skeleton, created_at)
     SELECT a.id, a.iss, a.sub, coalesce(a.name, 'user' || a.id || $6), coalesce(a.skeleton, 'user' || a.id || $6), $5
     FROM (SELECT nextval('users_user_id_seq') AS id, u.*
           FROM unnest($1::text[], $2::text[], $3::text[], $4::text[]) AS u(iss, sub, name, skeleton)) AS a
     ON CONFLICT DO NOTHING RETURNING user_id, username, role, created_at, iss, sub";
const TAKEN: &str = "SELECT skeleton FROM users WHERE skeleton = ANY ($1)";
const RENAME: &str =
    "UPDATE users SET username = $2, skeleton = $3 WHERE user_id = $1 RETURNING user_id, username, role, created_at";

/// Attempts to make a user: with the claimed name, then as `user<id>`, then with a number after it (somebody may have
/// claimed the name of an id before its time).
const ATTEMPTS: u32 = 8;

type Subject = (Box<str>, Box<str>);

/// The users of these identities, in their order; `None`: unknown and not to be made.
pub(super) async fn identify(
    session: &Session,
    identities: &[&Identity],
    provision: bool,
    now_ms: i64,
) -> Result<Vec<Option<UserRow>>, Error> {
    // Of one subject the last claim counts.
    let asked: HashMap<Subject, &Identity> = identities.iter().map(|i| ((i.iss.clone(), i.sub.clone()), *i)).collect();
    let mut known: HashMap<Subject, UserRow> = HashMap::with_capacity(asked.len());
    find(session, asked.keys(), &mut known).await?;
    rename(session, &asked, &mut known).await?;
    for attempt in 0..ATTEMPTS {
        let missing: Vec<&Identity> =
            asked.iter().filter(|(key, _)| !known.contains_key(*key)).map(|(_, i)| *i).collect();
        if missing.is_empty() || !provision {
            break;
        }
        make(session, &missing, attempt, now_ms, &mut known).await?;
        let left: Vec<Subject> = asked.keys().filter(|key| !known.contains_key(*key)).cloned().collect();
        if !left.is_empty() {
            find(session, left.iter(), &mut known).await?;
        }
    }
    Ok(identities.iter().map(|i| known.get(&(i.iss.clone(), i.sub.clone())).cloned()).collect())
}

fn keep(known: &mut HashMap<Subject, UserRow>, rows: &[Row]) {
    known.extend(rows.iter().map(|row| ((boxed(row, 4), boxed(row, 5)), user(row, 0))));
}

async fn find(
    session: &Session,
    subjects: impl Iterator<Item = &Subject>,
    known: &mut HashMap<Subject, UserRow>,
) -> Result<(), Error> {
    let (iss, sub): (Vec<&str>, Vec<&str>) = subjects.map(|(iss, sub)| (&**iss, &**sub)).unzip();
    keep(known, &session.query(FIND, &[&iss, &sub]).await?);
    Ok(())
}

async fn make(
    session: &Session,
    missing: &[&Identity],
    attempt: u32,
    now_ms: i64,
    known: &mut HashMap<Subject, UserRow>,
) -> Result<(), Error> {
    let claim = |identity: &Identity| {
        let claim = identity.username.as_deref().filter(|name| attempt == 0 && username_allowed(name));
        claim.map(|name| (name.to_owned(), skeleton(name)))
    };
    let iss: Vec<&str> = missing.iter().map(|i| &*i.iss).collect();
    let sub: Vec<&str> = missing.iter().map(|i| &*i.sub).collect();
    let (names, skeletons): (Vec<Option<String>>, Vec<Option<String>>) =
        missing.iter().map(|i| claim(i).unzip()).unzip();
    let suffix = if attempt < 2 { String::new() } else { format!(".{}", attempt - 1) };
    keep(known, &session.query(PROVISION, &[&iss, &sub, &names, &skeletons, &now_ms, &suffix]).await?);
    Ok(())
}

/// Users whose token claims another name than they have get it, if it is free.
async fn rename(
    session: &Session,
    asked: &HashMap<Subject, &Identity>,
    known: &mut HashMap<Subject, UserRow>,
) -> Result<(), Error> {
    let wanted: Vec<(&Subject, &str)> = asked
        .iter()
        .filter_map(|(key, identity)| {
            let claim = identity.username.as_deref().filter(|name| username_allowed(name))?;
            (known.get(key)?.username.as_ref() != claim).then_some((key, claim))
        })
        .collect();
    if wanted.is_empty() {
        return Ok(());
    }
    let keys: Vec<String> = wanted.iter().map(|(_, claim)| skeleton(claim)).collect();
    let taken: HashSet<Box<str>> = session.query(TAKEN, &[&keys]).await?.iter().map(|row| boxed(row, 0)).collect();
    for ((subject, claim), key) in wanted.into_iter().zip(keys) {
        let Some(row) = known.get_mut(subject) else { continue };
        let own = skeleton(&row.username) == key;
        if taken.contains(key.as_str()) && !own {
            continue;
        }
        let id = super::plan::int(row.user_id.0);
        match session.query_opt(RENAME, &[&id, &claim, &key]).await {
            Ok(Some(renamed)) => *row = user(&renamed, 0),
            Ok(None) => {}
            // Somebody was quicker: the old name stays.
            Err(error) if fault(&error) == Fault::Unique => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
