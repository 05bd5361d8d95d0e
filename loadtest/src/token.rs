//! Access tokens as an embedding application would sign them, and forged ones.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, crypto};
use serde_json::{Value, json};
use std::time::{SystemTime, UNIX_EPOCH};

/// Seconds since the Unix epoch.
pub fn unix_seconds() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is past 1970");
    i64::try_from(since.as_secs()).expect("fits")
}

/// A token for subject `sub` that ends in an hour.
pub fn for_subject(secret: &str, sub: &str) -> String {
    sign(secret, &json!({"sub": sub, "exp": unix_seconds() + 3600}))
}

/// A token for subject `sub` that outlasts every run.
pub fn for_run(secret: &str, sub: &str) -> String {
    sign(secret, &json!({"sub": sub, "exp": unix_seconds() + 30 * 86_400}))
}

/// A token for subject `sub` with a `username` claim, ends in an hour.
pub fn named(secret: &str, sub: &str, username: &str) -> String {
    sign(secret, &json!({"sub": sub, "username": username, "exp": unix_seconds() + 3600}))
}

/// Signs any claims with HS256.
pub fn sign(secret: &str, claims: &Value) -> String {
    forge(&json!({"alg": "HS256", "typ": "JWT"}), claims, Some((secret, Algorithm::HS256)))
}

/// A token with any header and claims; without a key its signature is empty.
pub fn forge(header: &Value, claims: &Value, key: Option<(&str, Algorithm)>) -> String {
    let message =
        format!("{}.{}", URL_SAFE_NO_PAD.encode(header.to_string()), URL_SAFE_NO_PAD.encode(claims.to_string()));
    let signature = key.map_or(String::new(), |(secret, algorithm)| {
        let key = EncodingKey::from_secret(secret.as_bytes());
        crypto::sign(message.as_bytes(), &key, algorithm).expect("HMAC signs anything")
    });
    format!("{message}.{signature}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signs_as_rfc_7515_does() {
        // Appendix A.1 of the RFC has spaces and line ends in its JSON, so this vector is of another library's making.
        let claims = json!({"name": "John Doe", "sub": "1234567890"});
        let token = forge(&json!({"alg": "HS256"}), &claims, Some(("secret", Algorithm::HS256)));
        let parts: Vec<&str> = token.split('.').collect();
        assert_eq!(parts[0], "eyJhbGciOiJIUzI1NiJ9");
        assert_eq!(parts[1], "eyJuYW1lIjoiSm9obiBEb2UiLCJzdWIiOiIxMjM0NTY3ODkwIn0");
        let key = jsonwebtoken::DecodingKey::from_secret(b"secret");
        let message = format!("{}.{}", parts[0], parts[1]);
        assert!(crypto::verify(parts[2], message.as_bytes(), &key, Algorithm::HS256).expect("decodes"));
        assert!(forge(&json!({"alg": "none"}), &claims, None).ends_with('.'));
    }
}
