//! Access tokens: checked by [`Verifier`], made by [`Issuer`].
//!
//! A token chooses nothing but its place among what is configured: HS256 is checked with the server's own secret
//! alone, the configured public key algorithm with the configured keys alone, everything else is refused. Nothing in a
//! token makes the server open a file or a connection.

use super::keys::{self, PublicKeys};
use super::{OWN_ISSUER, hex, random_hex, username_allowed};
use crate::config::{Config, ConfigError, JwtAlgorithm};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header};
use serde::{Deserialize, Serialize};
use serde_json::{Number, Value};
use sha2::{Digest, Sha256};
use std::time::Duration;
use veza_engine::input::{Identity, Role, TokenError};

/// Bytes of a token.
pub const TOKEN_BYTES_MAX: usize = 4096;
/// Seconds that the clocks of issuer and server may differ.
pub const LEEWAY_S: i64 = 5;
/// Bytes of a subject, at least and at most.
pub const SUBJECT_BYTES: std::ops::RangeInclusive<usize> = 1..=128;
/// Bytes of an issuer.
const ISSUER_BYTES_MAX: usize = 255;
/// Bytes of `sid` and `jti`.
const SESSION_BYTES_MAX: usize = 128;
/// The last second of the year 9999: what is beyond cannot be written as a time.
const FOREVER: i64 = 253_402_300_799;

/// Checks access tokens. Immutable; shared by all threads.
pub struct Verifier {
    own_key: DecodingKey,
    issuer_keys: PublicKeys,
    algorithm: JwtAlgorithm,
    issuer: Box<str>,
    audience: Box<str>,
}

/// The part of a token that says how it is signed. Fields that would name a key of the token's own choice are here
/// to be refused.
#[derive(Deserialize)]
struct RawHeader {
    alg: String,
    kid: Option<String>,
    typ: Option<String>,
    crit: Option<Value>,
    jwk: Option<Value>,
    jku: Option<Value>,
    x5u: Option<Value>,
    x5c: Option<Value>,
    zip: Option<Value>,
    enc: Option<Value>,
    b64: Option<Value>,
}

/// The claims that are read. What has the wrong type is refused, but `username` and `role`, which are wishes.
#[derive(Deserialize)]
struct RawClaims {
    sub: Option<String>,
    exp: Option<Number>,
    nbf: Option<Number>,
    iat: Option<Number>,
    iss: Option<String>,
    aud: Option<Audience>,
    typ: Option<String>,
    sid: Option<String>,
    jti: Option<String>,
    username: Option<Value>,
    role: Option<Value>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Many(Vec<String>),
}

impl Audience {
    fn names(&self, audience: &str) -> bool {
        match self {
            Audience::One(name) => name == audience,
            Audience::Many(names) => names.iter().any(|name| name == audience),
        }
    }
}

impl Verifier {
    /// With the configured keys. The secret must be there ([`Config::ensure_secret`]).
    ///
    /// # Errors
    /// A key file cannot be used, or there is no secret.
    pub fn new(config: &Config) -> Result<Verifier, ConfigError> {
        let security = &config.security;
        if security.jwt_secret.is_empty() {
            return Err(ConfigError::one("security.jwt_secret: is missing"));
        }
        Ok(Verifier {
            own_key: DecodingKey::from_secret(security.jwt_secret.expose().as_bytes()),
            issuer_keys: PublicKeys::load(security)?,
            algorithm: security.jwt_algorithm,
            issuer: security.jwt_issuer.as_str().into(),
            audience: security.jwt_audience.as_str().into(),
        })
    }

    /// Who the token speaks for. `now` in Unix seconds. No IO; about 2 µs with HS256.
    ///
    /// # Errors
    /// `Expired` if nothing else is wrong with it, else `Invalid`.
    pub fn verify(&self, token: &str, now: i64) -> Result<Identity, TokenError> {
        let (signed, claims, own_key) = self.signed_claims(token).ok_or(TokenError::Invalid)?;
        self.judge(&claims, own_key, now)?;
        identity(claims, signed, now).ok_or(TokenError::Invalid)
    }

    /// What is signed, its claims, and whether the server's own key signed it; `None` unless the signature is good.
    fn signed_claims<'t>(&self, token: &'t str) -> Option<(&'t str, RawClaims, bool)> {
        if token.len() > TOKEN_BYTES_MAX {
            return None;
        }
        let (signed, signature) = token.rsplit_once('.')?;
        // A third dot leaves one in `payload`, which base64 refuses.
        let (header, payload) = signed.split_once('.')?;
        let header: RawHeader = decode(header)?;
        if !header.is_plain() {
            return None;
        }
        let own_key = header.alg == JwtAlgorithm::Hs256.name();
        let (key, algorithm) = if own_key {
            (&self.own_key, Algorithm::HS256)
        } else if header.alg == self.algorithm.name() {
            (self.issuer_keys.find(header.kid.as_deref())?, keys::algorithm(self.algorithm))
        } else {
            return None;
        };
        match jsonwebtoken::crypto::verify(signature, signed.as_bytes(), key, algorithm) {
            Ok(true) => Some((signed, decode(payload)?, own_key)),
            _ => None,
        }
    }

    /// Whether a well signed token is one for us, now.
    fn judge(&self, claims: &RawClaims, own_key: bool, now: i64) -> Result<(), TokenError> {
        let issuer = claims.iss.as_deref().unwrap_or("");
        let ours = if issuer == OWN_ISSUER {
            own_key
        } else {
            own_key == (self.algorithm == JwtAlgorithm::Hs256)
                && (self.issuer.is_empty() || *self.issuer == *issuer)
                && (self.audience.is_empty() || claims.aud.as_ref().is_some_and(|aud| aud.names(&self.audience)))
        };
        let refresh = claims.typ.as_deref().is_some_and(|typ| typ.eq_ignore_ascii_case("refresh"));
        let exp = seconds(claims.exp.as_ref()).ok_or(TokenError::Invalid)?.ok_or(TokenError::Invalid)?;
        let nbf = seconds(claims.nbf.as_ref()).ok_or(TokenError::Invalid)?.unwrap_or(i64::MIN);
        if !ours || refresh || now.saturating_add(LEEWAY_S) < nbf {
            Err(TokenError::Invalid)
        } else if now.saturating_sub(LEEWAY_S) >= exp {
            Err(TokenError::Expired)
        } else {
            Ok(())
        }
    }
}

impl RawHeader {
    /// Whether it asks for nothing that we would have to understand, fetch or trust.
    fn is_plain(&self) -> bool {
        let extras = [&self.crit, &self.jwk, &self.jku, &self.x5u, &self.x5c, &self.zip, &self.enc, &self.b64];
        let refresh = self.typ.as_deref().is_some_and(|typ| typ.to_ascii_lowercase().contains("refresh"));
        extras.iter().all(|extra| extra.is_none()) && !refresh
    }
}

fn decode<T: for<'de> Deserialize<'de>>(part: &str) -> Option<T> {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).ok()?).ok()
}

/// `Some(None)`: absent. `None`: no second that there is.
fn seconds(number: Option<&Number>) -> Option<Option<i64>> {
    let Some(number) = number else { return Some(None) };
    let seconds = number.as_f64()?;
    // Beyond the year 9999 nothing changes any more; a float of that size is exact.
    (seconds.is_finite() && seconds >= 0.0).then(|| Some(seconds.min(FOREVER as f64) as i64))
}

/// What has been checked, as the engine knows it. `signed` is the token without its signature.
fn identity(claims: RawClaims, signed: &str, now: i64) -> Option<Identity> {
    let sub = claims.sub.filter(|sub| SUBJECT_BYTES.contains(&sub.len()) && is_plain(sub))?;
    let iss = claims.iss.unwrap_or_default();
    if iss.len() > ISSUER_BYTES_MAX || !is_plain(&iss) {
        return None;
    }
    let session_id = match claims.sid.or(claims.jti) {
        Some(id) if id.is_empty() || id.len() > SESSION_BYTES_MAX || !is_plain(&id) => return None,
        Some(id) => id,
        // Without the signature, of which ES256 lets anybody make a second one: it must not be a second session.
        None => hex(&Sha256::digest(signed)),
    };
    let username = claims.username.as_ref().and_then(Value::as_str).filter(|name| username_allowed(name));
    Some(Identity {
        iss: iss.into(),
        sub: sub.into(),
        username: username.map(Into::into),
        role: claims.role.as_ref().and_then(Value::as_str).map_or(Role::User, Role::from_name),
        session_id: session_id.into(),
        // One from the future says nothing: it must not outlive a revocation of all older tokens.
        issued_at: seconds(claims.iat.as_ref())?.filter(|iat| *iat <= now.saturating_add(LEEWAY_S)),
        expires_at: seconds(claims.exp.as_ref())??,
    })
}

/// Whether a text can be stored and logged.
fn is_plain(text: &str) -> bool {
    !text.chars().any(char::is_control)
}

/// Makes access tokens with the server's own key.
pub struct Issuer {
    key: EncodingKey,
    algorithm: JwtAlgorithm,
    issuer: Box<str>,
    audience: Box<str>,
    access: Duration,
}

#[derive(Serialize)]
struct Claims<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    iss: &'a str,
    sub: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    aud: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    username: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<&'static str>,
    iat: i64,
    exp: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    sid: Option<&'a str>,
    jti: String,
}

/// Whom a token is made for.
#[derive(Clone, Copy)]
pub struct Subject<'a> {
    /// Unique with the issuer; 1–128 bytes.
    pub sub: &'a str,
    /// Claim `username`.
    pub username: Option<&'a str>,
    /// Claim `role`.
    pub role: Role,
}

impl Issuer {
    /// With the configured secret.
    pub fn new(config: &Config) -> Issuer {
        let security = &config.security;
        assert!(!security.jwt_secret.is_empty(), "the secret is made before");
        Issuer {
            key: EncodingKey::from_secret(security.jwt_secret.expose().as_bytes()),
            algorithm: security.jwt_algorithm,
            issuer: security.jwt_issuer.as_str().into(),
            audience: security.jwt_audience.as_str().into(),
            access: security.jwt_access_duration,
        }
    }

    /// Life of an access token of the server's own users.
    pub fn access_duration(&self) -> Duration {
        self.access
    }

    /// An access token of one of the server's own users, and its end. `now` and the end in Unix seconds.
    pub fn access(&self, subject: Subject<'_>, session_id: &str, now: i64) -> (String, i64) {
        let exp = now + whole_seconds(self.access);
        let (iss, aud, sid) = (OWN_ISSUER, "", Some(session_id));
        (self.sign(&claims(subject, iss, aud, sid, now, exp)), exp)
    }

    /// A token as the configured issuer would make it; `None` if that one signs with a private key of its own.
    pub fn application(&self, subject: Subject<'_>, ttl: Duration, now: i64) -> Option<String> {
        let exp = now + whole_seconds(ttl);
        (self.algorithm == JwtAlgorithm::Hs256)
            .then(|| self.sign(&claims(subject, &self.issuer, &self.audience, None, now, exp)))
    }

    fn sign(&self, claims: &Claims<'_>) -> String {
        jsonwebtoken::encode(&Header::new(Algorithm::HS256), claims, &self.key).expect("an HMAC key signs any JSON")
    }
}

fn claims<'a>(
    subject: Subject<'a>,
    iss: &'a str,
    aud: &'a str,
    sid: Option<&'a str>,
    iat: i64,
    exp: i64,
) -> Claims<'a> {
    let role = (subject.role != Role::User).then(|| subject.role.name());
    Claims { iss, sub: subject.sub, aud, username: subject.username, role, iat, exp, sid, jti: random_hex::<16>() }
}

fn whole_seconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_secs()).unwrap_or(FOREVER).min(FOREVER)
}
