//! The keys that tokens are checked with. Read once at start; a token can neither bring a key nor have one fetched.

use crate::config::{ConfigError, JwtAlgorithm, Security};
use jsonwebtoken::jwk::{Jwk, JwkSet, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};
use std::path::Path;

/// Bytes of an RSA modulus that is not too small (2048 bits).
const RSA_BYTES_MIN: usize = 256;
/// Keys in a JWKS file; more are a mistake.
const KEYS_MAX: usize = 100;

/// The public keys of the configured issuer, all of one algorithm.
pub struct PublicKeys {
    keys: Vec<(Option<String>, DecodingKey)>,
}

impl PublicKeys {
    /// Reads the configured file; empty for HS256.
    ///
    /// # Errors
    /// The file cannot be read, or holds no key that fits the algorithm.
    pub fn load(security: &Security) -> Result<PublicKeys, ConfigError> {
        let algorithm = algorithm(security.jwt_algorithm);
        if let Some(path) = &security.jwt_public_key_file {
            read(path, "security.jwt_public_key_file", |text| from_pem(text, algorithm))
        } else if let Some(path) = &security.jwks_file {
            read(path, "security.jwks_file", |text| from_jwks(text, algorithm))
        } else {
            Ok(PublicKeys { keys: Vec::new() })
        }
    }

    /// The key of a token. One that names a key gets that one or none; one that names none gets the only one.
    pub fn find(&self, kid: Option<&str>) -> Option<&DecodingKey> {
        match (kid, self.keys.as_slice()) {
            // A single key without a name (a PEM file) is for all tokens.
            (_, [(None, key)]) | (None, [(_, key)]) => Some(key),
            (None, _) => None,
            (Some(kid), keys) => keys.iter().find(|(name, _)| name.as_deref() == Some(kid)).map(|(_, key)| key),
        }
    }
}

/// The library's name of an algorithm.
pub fn algorithm(configured: JwtAlgorithm) -> Algorithm {
    match configured {
        JwtAlgorithm::Hs256 => Algorithm::HS256,
        JwtAlgorithm::Rs256 => Algorithm::RS256,
        JwtAlgorithm::Es256 => Algorithm::ES256,
        JwtAlgorithm::EdDsa => Algorithm::EdDSA,
    }
}

fn read(
    path: &Path,
    setting: &str,
    parse: impl Fn(&str) -> Result<PublicKeys, String>,
) -> Result<PublicKeys, ConfigError> {
    let problem = |what: String| ConfigError::one(format!("{setting}: {}: {what}", path.display()));
    let text = std::fs::read_to_string(path).map_err(|error| problem(error.to_string()))?;
    parse(&text).map_err(problem)
}

fn from_pem(text: &str, algorithm: Algorithm) -> Result<PublicKeys, String> {
    if text.contains("PRIVATE KEY") {
        return Err("holds a private key, expected the public one alone".into());
    }
    let key = match algorithm {
        Algorithm::RS256 => DecodingKey::from_rsa_pem(text.as_bytes()),
        Algorithm::ES256 => DecodingKey::from_ec_pem(text.as_bytes()),
        _ => DecodingKey::from_ed_pem(text.as_bytes()),
    };
    let key = key.map_err(|_| format!("holds no public key for {algorithm:?} in PEM form"))?;
    // The modulus is nearly all of a key's DER form.
    if algorithm == Algorithm::RS256 && key.try_get_as_bytes().is_ok_and(|der| der.len() < RSA_BYTES_MIN) {
        return Err("the RSA key is too small, expected 2048 bits or more".into());
    }
    Ok(PublicKeys { keys: vec![(None, usable(key, algorithm)?)] })
}

fn from_jwks(text: &str, algorithm: Algorithm) -> Result<PublicKeys, String> {
    let set: JwkSet = serde_json::from_str(text).map_err(|error| format!("is no JSON Web Key Set: {error}"))?;
    let mut keys: Vec<(Option<String>, DecodingKey)> = Vec::new();
    for jwk in set.keys.iter().filter(|jwk| fits(jwk, algorithm)) {
        let kid = jwk.common.key_id.clone();
        if keys.iter().any(|(other, _)| *other == kid) {
            return Err("has two keys with the same \"kid\"".into());
        }
        let key = DecodingKey::from_jwk(jwk).map_err(|_| "has a key that cannot be read".to_owned())?;
        keys.push((kid, usable(key, algorithm)?));
    }
    match keys.len() {
        0 => Err(format!("has no public key for {algorithm:?}")),
        1..=KEYS_MAX => Ok(PublicKeys { keys }),
        _ => Err(format!("has more than {KEYS_MAX} keys")),
    }
}

/// Whether a key of a set is one that checks signatures of this algorithm. Symmetric ones never are.
fn fits(jwk: &Jwk, algorithm: Algorithm) -> bool {
    use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve};
    let kind = match &jwk.algorithm {
        AlgorithmParameters::RSA(key) => {
            // Four letters of base64 are three bytes.
            algorithm == Algorithm::RS256 && key.n.len() * 3 / 4 >= RSA_BYTES_MIN
        }
        AlgorithmParameters::EllipticCurve(key) => algorithm == Algorithm::ES256 && key.curve == EllipticCurve::P256,
        AlgorithmParameters::OctetKeyPair(key) => algorithm == Algorithm::EdDSA && key.curve == EllipticCurve::Ed25519,
        _ => false,
    };
    let named = jwk.common.key_algorithm.is_none_or(|named| named.to_string() == format!("{algorithm:?}"));
    let purpose = jwk.common.public_key_use.as_ref().is_none_or(|purpose| *purpose == PublicKeyUse::Signature);
    kind && named && purpose
}

/// Tries the key once, so that a broken one is found at start.
fn usable(key: DecodingKey, algorithm: Algorithm) -> Result<DecodingKey, String> {
    match jsonwebtoken::crypto::verify("", b"", &key, algorithm) {
        Ok(_) => Ok(key),
        Err(_) => Err(format!("has a key that is not usable with {algorithm:?}")),
    }
}
