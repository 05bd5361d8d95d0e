//! What both stores must do alike, so that a client cannot tell them apart.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use veza_engine::store::LoadError;

/// Bytes of rows in one `Events` or `tail` answer, about; a single larger one still goes.
pub(super) const PAGE_BYTES: usize = 256 << 10;

/// Ids and epochs lie below this.
const BELOW_2_53: u64 = (1 << 53) - 1;

/// Seconds that a revocation is kept beyond the end of its tokens, since tokens are accepted with some leeway.
pub(super) const REVOCATION_KEPT_S: i64 = 60;

/// The `iss` of the server's own users.
pub(super) const OWN_ISSUER: &str = "veza";

/// Epochs are stored mixed with the database's incarnation, and unmixed on load: what the engine chose is what it gets
/// back, until the incarnation changes. Its own inverse.
pub(super) fn mix_epoch(epoch: u64, incarnation: u64) -> u64 {
    (epoch ^ incarnation) & BELOW_2_53
}

/// What makes usernames alike. Lower-casing is enough: they are of `[A-Za-z0-9_.-]`.
pub(super) fn skeleton(username: &str) -> String {
    username.to_ascii_lowercase()
}

/// Whether a `username` claim has the form that the protocol allows.
pub(super) fn username_allowed(username: &str) -> bool {
    (3..=32).contains(&username.len())
        && username.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-'))
}

/// The name of a user whose claim is absent, not allowed or taken; `attempt` counts from 0 for as long as the name is
/// taken (somebody may have claimed `user7` before user 7 came).
pub(super) fn fallback_username(user_id: u64, attempt: u32) -> String {
    match attempt {
        0 => format!("user{user_id}"),
        _ => format!("user{user_id}.{attempt}"),
    }
}

/// Text as search compares it.
pub(super) fn fold(text: &str) -> String {
    text.to_lowercase()
}

/// Page cursors: opaque to clients, `kind` tells one query's from another's.
pub(super) fn cursor(kind: char, position: &str) -> Box<str> {
    URL_SAFE_NO_PAD.encode(format!("{kind}{position}")).into()
}

/// The position in a cursor of this kind; `None` for the first page.
pub(super) fn read_cursor(kind: char, cursor: Option<&str>) -> Result<Option<String>, LoadError> {
    let Some(cursor) = cursor else { return Ok(None) };
    let bytes = URL_SAFE_NO_PAD.decode(cursor).map_err(|_| LoadError::BadCursor)?;
    let text = String::from_utf8(bytes).map_err(|_| LoadError::BadCursor)?;
    text.strip_prefix(kind).map(|position| Some(position.to_owned())).ok_or(LoadError::BadCursor)
}

/// As [`read_cursor`], for cursors of one id.
pub(super) fn read_id_cursor(kind: char, text: Option<&str>) -> Result<Option<u64>, LoadError> {
    let Some(position) = read_cursor(kind, text)? else { return Ok(None) };
    let id = position.parse().ok().filter(|id| *id <= BELOW_2_53).ok_or(LoadError::BadCursor)?;
    Ok(Some(id))
}

/// As [`read_cursor`], for cursors of several numbers, joined by dots.
pub(super) fn read_numbers_cursor<const N: usize>(
    kind: char,
    text: Option<&str>,
) -> Result<Option<[i64; N]>, LoadError> {
    let Some(position) = read_cursor(kind, text)? else { return Ok(None) };
    let numbers: Result<Vec<i64>, _> = position.split('.').map(str::parse).collect();
    let numbers = numbers.ok().and_then(|numbers| numbers.try_into().ok()).ok_or(LoadError::BadCursor)?;
    Ok(Some(numbers))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_return_and_foreign_ones_are_refused() {
        let made = cursor('u', "42");
        assert_eq!(read_id_cursor('u', Some(&made)), Ok(Some(42)));
        assert_eq!(read_id_cursor('u', None), Ok(None));
        for bad in ["", "?", "dTQy!", "AAAA", &cursor('r', "42"), &cursor('u', "x"), &cursor('u', "9007199254740992")] {
            assert_eq!(read_id_cursor('u', Some(bad)), Err(LoadError::BadCursor), "{bad}");
        }
        assert_eq!(read_numbers_cursor('n', Some(&cursor('n', "-3.0.77"))), Ok(Some([-3, 0, 77])));
        for bad in ["", "1.2", "1.2.3.4", "1..3", "1.2.x", "1.2.9223372036854775808"] {
            assert_eq!(read_numbers_cursor::<3>('n', Some(&cursor('n', bad))), Err(LoadError::BadCursor), "{bad}");
        }
    }

    #[test]
    fn an_epoch_comes_back_as_chosen_and_changes_with_the_incarnation() {
        let (epoch, old, new) = (0x1f_0123_4567_89ab, 0x00_dead_beef_0001, 0x1a_0000_0000_0002);
        let stored = mix_epoch(epoch, old);
        assert_eq!(mix_epoch(stored, old), epoch);
        assert_ne!(mix_epoch(stored, new), epoch);
        assert!(mix_epoch(u64::MAX, 0) <= BELOW_2_53);
    }
}
