//! Every known way to get past a token check, and every token that has to pass.

use super::token::{Issuer, Subject, TOKEN_BYTES_MAX, Verifier};
use crate::config::{Config, JwtAlgorithm, Secret};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::time::Duration;
use veza_engine::input::{Identity, Role, TokenError};

const SECRET: &str = "0123456789abcdef0123456789abcdef";
const NOW: i64 = 1_800_000_000;
const INVALID: Result<(), TokenError> = Err(TokenError::Invalid);
const EXPIRED: Result<(), TokenError> = Err(TokenError::Expired);

fn key_path(name: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/src/auth/testdata")).join(name)
}

fn key_file(name: &str) -> Vec<u8> {
    std::fs::read(key_path(name)).unwrap()
}

fn config(issuer: &str, audience: &str) -> Config {
    let mut config = Config::default();
    config.security.jwt_secret = Secret::new(SECRET);
    config.security.jwt_issuer = issuer.to_owned();
    config.security.jwt_audience = audience.to_owned();
    config
}

fn public_key_config(algorithm: JwtAlgorithm, file: &str) -> Config {
    let mut config = config("", "");
    config.security.jwt_algorithm = algorithm;
    if file.ends_with(".json") {
        config.security.jwks_file = Some(key_path(file));
    } else {
        config.security.jwt_public_key_file = Some(key_path(file));
    }
    config
}

fn part(json: &str) -> String {
    URL_SAFE_NO_PAD.encode(json)
}

fn signed(header: &str, claims: &str, key: &EncodingKey, algorithm: Algorithm) -> String {
    let message = format!("{}.{}", part(header), part(claims));
    let signature = jsonwebtoken::crypto::sign(message.as_bytes(), key, algorithm).unwrap();
    format!("{message}.{signature}")
}

fn hs256(header: &str, claims: &str) -> String {
    signed(header, claims, &EncodingKey::from_secret(SECRET.as_bytes()), Algorithm::HS256)
}

const HS256: &str = r#"{"alg":"HS256","typ":"JWT"}"#;

/// Good claims with some replaced (`null`: left out).
fn claims(changes: Value) -> String {
    let mut claims = json!({"sub": "u1", "exp": NOW + 60, "iat": NOW - 60, "sid": "s1"});
    for (name, value) in changes.as_object().unwrap() {
        match value {
            Value::Null => drop(claims.as_object_mut().unwrap().remove(name)),
            value => claims[name] = value.clone(),
        }
    }
    claims.to_string()
}

fn verdict(config: &Config, token: &str) -> Result<(), TokenError> {
    Verifier::new(config).unwrap().verify(token, NOW).map(drop)
}

fn identity_of(changes: Value) -> Identity {
    Verifier::new(&config("", "")).unwrap().verify(&hs256(HS256, &claims(changes)), NOW).unwrap()
}

#[test]
fn forged_and_malformed_tokens_are_refused() {
    let good = hs256(HS256, &claims(json!({})));
    assert_eq!(verdict(&config("", ""), &good), Ok(()));
    let (message, signature) = good.rsplit_once('.').unwrap();
    let (header, payload) = message.split_once('.').unwrap();
    let admin = part(&claims(json!({"role": "admin"})));
    let with_key = |key: &str, header: &str| {
        signed(header, &claims(json!({})), &EncodingKey::from_secret(key.as_bytes()), Algorithm::HS256)
    };
    let flipped = {
        // The last letter carries bits that are no part of the signature; the first does not.
        let mut bytes = signature.as_bytes().to_vec();
        bytes[0] = if bytes[0] == b'A' { b'B' } else { b'A' };
        String::from_utf8(bytes).unwrap()
    };
    let none = |name: &str| format!("{}.{payload}.", part(&format!(r#"{{"alg":"{name}"}}"#)));
    let cases = [
        ("empty", String::new()),
        ("no parts", "abc".into()),
        ("two parts", message.to_owned()),
        ("four parts", format!("{good}.{signature}")),
        ("encrypted form", format!("{header}.{payload}.{signature}.a.b")),
        ("only dots", "..".into()),
        ("no signature", format!("{message}.")),
        ("changed signature", format!("{message}.{flipped}")),
        ("shortened signature", good[..good.len() - 4].to_owned()),
        ("padded signature", format!("{good}=")),
        ("other claims under the signature", format!("{header}.{admin}.{signature}")),
        ("standard base64", format!("{message}.{}", signature.replace('-', "+").replace('_', "/") + "+")),
        ("blank before", format!(" {good}")),
        ("line end after", format!("{good}\n")),
        ("none", none("none")),
        ("None", none("None")),
        ("NONE", none("NONE")),
        ("nOnE", none("nOnE")),
        ("empty algorithm", none("")),
        ("none with our signature", hs256(r#"{"alg":"none"}"#, &claims(json!({})))),
        ("no algorithm", hs256(r#"{"typ":"JWT"}"#, &claims(json!({})))),
        ("algorithm of another type", hs256(r#"{"alg":["HS256"]}"#, &claims(json!({})))),
        ("algorithm twice", hs256(r#"{"alg":"none","alg":"HS256"}"#, &claims(json!({})))),
        ("lower case", hs256(r#"{"alg":"hs256"}"#, &claims(json!({})))),
        ("HS512 with our secret", {
            let key = EncodingKey::from_secret(SECRET.as_bytes());
            signed(r#"{"alg":"HS512"}"#, &claims(json!({})), &key, Algorithm::HS512)
        }),
        ("RS256 where HS256 is configured", {
            let key = EncodingKey::from_rsa_pem(&key_file("rsa.pem")).unwrap();
            signed(r#"{"alg":"RS256"}"#, &claims(json!({})), &key, Algorithm::RS256)
        }),
        ("another secret", with_key("another secret of 32 bytes......", HS256)),
        ("an empty secret", with_key("", HS256)),
        ("kid of an empty file", with_key("", r#"{"alg":"HS256","kid":"../../../../dev/null"}"#)),
        ("kid with SQL", with_key("k", r#"{"alg":"HS256","kid":"x' UNION SELECT 'k"}"#)),
        ("kid of another type", hs256(r#"{"alg":"HS256","kid":7}"#, &claims(json!({})))),
        ("own key in the header", with_key("k", r#"{"alg":"HS256","jwk":{"kty":"oct","k":"aw"}}"#)),
        ("key by address", hs256(r#"{"alg":"HS256","jku":"https://evil.example/jwks"}"#, &claims(json!({})))),
        ("certificate by address", hs256(r#"{"alg":"HS256","x5u":"file:///etc/passwd"}"#, &claims(json!({})))),
        ("certificate", hs256(r#"{"alg":"HS256","x5c":["MIIB"]}"#, &claims(json!({})))),
        ("critical extension", hs256(r#"{"alg":"HS256","crit":["b64"],"b64":false}"#, &claims(json!({})))),
        ("compressed", hs256(r#"{"alg":"HS256","zip":"DEF"}"#, &claims(json!({})))),
        ("header that is no object", hs256("[]", &claims(json!({})))),
        ("deep header", hs256(&format!(r#"{{"alg":"HS256","x":{}}}"#, "[".repeat(900)), &claims(json!({})))),
        ("claims that are no object", hs256(HS256, "\"u1\"")),
        ("claims that are no JSON", hs256(HS256, "{")),
        ("claims that are no UTF-8", {
            let message = format!("{}.{}", part(HS256), URL_SAFE_NO_PAD.encode(b"{\"sub\":\"\xff\"}"));
            let key = EncodingKey::from_secret(SECRET.as_bytes());
            format!("{message}.{}", jsonwebtoken::crypto::sign(message.as_bytes(), &key, Algorithm::HS256).unwrap())
        }),
    ];
    for (name, token) in cases {
        assert_eq!(verdict(&config("", ""), &token), INVALID, "{name}");
    }
}

#[test]
fn tokens_are_bounded() {
    // A claim that nobody reads fills the token up to a letter more or less than the bound.
    let token = |filler: usize| hs256(HS256, &claims(json!({"x": "a".repeat(filler)})));
    let mut filler = 2900;
    while token(filler + 1).len() <= TOKEN_BYTES_MAX {
        filler += 1;
    }
    assert_eq!(verdict(&config("", ""), &token(filler)), Ok(()));
    assert_eq!(verdict(&config("", ""), &token(filler + 1)), INVALID);
    assert_eq!(verdict(&config("", ""), &"a.".repeat(500_000)), INVALID);
}

#[test]
fn claims_are_judged() {
    let long = "a".repeat(129);
    let cases = [
        ("no end", json!({"exp": null}), INVALID),
        ("end as text", json!({"exp": (NOW + 60).to_string()}), INVALID),
        ("end as list", json!({"exp": [NOW + 60]}), INVALID),
        ("end before time began", json!({"exp": -1}), INVALID),
        ("end beyond the calendar", json!({"exp": 1e300}), Ok(())),
        ("end with a fraction", json!({"exp": NOW as f64 + 0.5}), Ok(())),
        ("ended", json!({"exp": NOW - 60}), EXPIRED),
        ("ended at the leeway's end", json!({"exp": NOW - 5}), EXPIRED),
        ("ended within the leeway", json!({"exp": NOW - 4}), Ok(())),
        ("not yet", json!({"nbf": NOW + 60}), INVALID),
        ("not yet, beyond the leeway", json!({"nbf": NOW + 6}), INVALID),
        ("not yet, within the leeway", json!({"nbf": NOW + 5}), Ok(())),
        ("start as text", json!({"nbf": "0"}), INVALID),
        ("ended and not for us", json!({"exp": NOW - 60, "typ": "refresh"}), INVALID),
        ("refresh token", json!({"typ": "refresh"}), INVALID),
        ("refresh token in capitals", json!({"typ": "Refresh"}), INVALID),
        ("type as list", json!({"typ": ["refresh"]}), INVALID),
        ("access token", json!({"typ": "access"}), Ok(())),
        ("no subject", json!({"sub": null}), INVALID),
        ("empty subject", json!({"sub": ""}), INVALID),
        ("subject as number", json!({"sub": 7}), INVALID),
        ("subject as object", json!({"sub": {"$ne": ""}}), INVALID),
        ("subject with NUL", json!({"sub": "a\0b"}), INVALID),
        ("subject with a line end", json!({"sub": "a\nb"}), INVALID),
        ("longest subject", json!({"sub": &long[..128]}), Ok(())),
        ("subject too long", json!({"sub": &long}), INVALID),
        ("issuer as list", json!({"iss": ["a"]}), INVALID),
        ("issuer with NUL", json!({"iss": "a\0"}), INVALID),
        ("issuer too long", json!({"iss": "a".repeat(256)}), INVALID),
        ("any issuer where none is configured", json!({"iss": "https://app.example"}), Ok(())),
        ("any audience where none is configured", json!({"aud": "someone"}), Ok(())),
        ("audience of another type", json!({"aud": 7}), INVALID),
        ("session as number", json!({"sid": 7}), INVALID),
        ("empty session", json!({"sid": ""}), INVALID),
        ("session too long", json!({"sid": &long}), INVALID),
        ("session with NUL", json!({"sid": "\0"}), INVALID),
        ("issued in text", json!({"iat": "now"}), INVALID),
        ("issued before time began", json!({"iat": -5}), INVALID),
    ];
    for (name, changes, expected) in cases {
        assert_eq!(verdict(&config("", ""), &hs256(HS256, &claims(changes))), expected, "{name}");
    }
    for (name, json) in [
        ("end beyond numbers", r#"{"sub":"u1","exp":1e999}"#),
        ("subject twice", r#"{"sub":"u1","sub":"u2","exp":1900000000}"#),
        ("end twice", r#"{"sub":"u1","exp":1,"exp":1900000000}"#),
        ("lone surrogate", r#"{"sub":"\ud800","exp":1900000000}"#),
    ] {
        assert_eq!(verdict(&config("", ""), &hs256(HS256, json)), INVALID, "{name}");
    }
}

#[test]
fn issuer_and_audience_are_checked_where_configured() {
    let cases = [
        ("app", "", json!({"iss": "app"}), Ok(())),
        ("app", "", json!({"iss": "App"}), INVALID),
        ("app", "", json!({"iss": "other"}), INVALID),
        ("app", "", json!({}), INVALID),
        ("app", "", json!({"iss": "app", "aud": "someone"}), Ok(())),
        ("", "chat", json!({"aud": "chat"}), Ok(())),
        ("", "chat", json!({"aud": ["mail", "chat"]}), Ok(())),
        ("", "chat", json!({"aud": "chat2"}), INVALID),
        ("", "chat", json!({"aud": []}), INVALID),
        ("", "chat", json!({"aud": ["chat", 7]}), INVALID),
        ("", "chat", json!({}), INVALID),
        ("app", "chat", json!({"iss": "app", "aud": "chat"}), Ok(())),
        ("app", "chat", json!({"iss": "veza"}), Ok(())),
    ];
    for (issuer, audience, changes, expected) in cases {
        let token = hs256(HS256, &claims(changes.clone()));
        assert_eq!(verdict(&config(issuer, audience), &token), expected, "{issuer} {audience} {changes}");
    }
}

#[test]
fn public_keys_check_their_own_algorithm_and_nothing_else() {
    let rsa = EncodingKey::from_rsa_pem(&key_file("rsa.pem")).unwrap();
    let ec = EncodingKey::from_ec_pem(&key_file("ec.pem")).unwrap();
    let ed = EncodingKey::from_ed_pem(&key_file("ed.pem")).unwrap();
    let with = |algorithm: Algorithm, key: &EncodingKey, changes: Value| {
        signed(&format!(r#"{{"alg":"{algorithm:?}"}}"#), &claims(changes), key, algorithm)
    };
    let public_key_as_secret = |file: &str| {
        let key = EncodingKey::from_secret(&key_file(file));
        signed(HS256, &claims(json!({})), &key, Algorithm::HS256)
    };
    let all = [
        (JwtAlgorithm::Rs256, "rsa.pub.pem", Algorithm::RS256, &rsa),
        (JwtAlgorithm::Es256, "ec.pub.pem", Algorithm::ES256, &ec),
        (JwtAlgorithm::EdDsa, "ed.pub.pem", Algorithm::EdDSA, &ed),
    ];
    for (configured, file, ..) in all {
        let config = public_key_config(configured, file);
        for (_, _, algorithm, key) in all {
            let expected = if algorithm == super::keys::algorithm(configured) { Ok(()) } else { INVALID };
            assert_eq!(verdict(&config, &with(algorithm, key, json!({}))), expected, "{configured:?} {algorithm:?}");
        }
        let own_algorithm = all.iter().find(|(other, ..)| *other == configured).unwrap();
        let (_, _, algorithm, key) = own_algorithm;
        let cases = [
            ("public key as secret", public_key_as_secret(file), INVALID),
            ("secret, but another issuer", hs256(HS256, &claims(json!({"iss": "app"}))), INVALID),
            ("secret, and no issuer", hs256(HS256, &claims(json!({}))), INVALID),
            ("secret, and the own issuer", hs256(HS256, &claims(json!({"iss": "veza"}))), Ok(())),
            ("own issuer under the foreign key", with(*algorithm, key, json!({"iss": "veza"})), INVALID),
            ("PS256 with the same key", with(Algorithm::PS256, &rsa, json!({})), INVALID),
            ("RS512 with the same key", with(Algorithm::RS512, &rsa, json!({})), INVALID),
        ];
        for (name, token, expected) in cases {
            assert_eq!(verdict(&config, &token), expected, "{configured:?}: {name}");
        }
    }
}

#[test]
fn a_key_set_is_searched_by_kid_alone() {
    let rsa = EncodingKey::from_rsa_pem(&key_file("rsa.pem")).unwrap();
    let ed = EncodingKey::from_ed_pem(&key_file("ed.pem")).unwrap();
    let rs256 = |kid: &str| {
        let header = format!(r#"{{"alg":"RS256"{kid}}}"#);
        signed(&header, &claims(json!({})), &rsa, Algorithm::RS256)
    };
    let jwks = public_key_config(JwtAlgorithm::Rs256, "jwks.json");
    let cases = [
        ("its kid", rs256(r#","kid":"r1""#), Ok(())),
        ("the kid of another key", rs256(r#","kid":"r2""#), INVALID),
        ("the kid of a key for another algorithm", rs256(r#","kid":"e1""#), INVALID),
        ("the kid of a symmetric key", rs256(r#","kid":"o1""#), INVALID),
        ("an unknown kid", rs256(r#","kid":"x""#), INVALID),
        ("a path", rs256(r#","kid":"../../../etc/passwd""#), INVALID),
        ("no kid among several", rs256(""), INVALID),
        (
            "the set's symmetric key",
            {
                let key = EncodingKey::from_secret(b"symmetric");
                signed(r#"{"alg":"HS256","kid":"o1"}"#, &claims(json!({})), &key, Algorithm::HS256)
            },
            INVALID,
        ),
    ];
    for (name, token, expected) in cases {
        assert_eq!(verdict(&jwks, &token), expected, "{name}");
    }
    let single = public_key_config(JwtAlgorithm::EdDsa, "jwks.json");
    let token = signed(r#"{"alg":"EdDSA"}"#, &claims(json!({})), &ed, Algorithm::EdDSA);
    assert_eq!(verdict(&single, &token), Ok(()), "no kid, and one key only");
}

#[test]
fn key_files_of_no_use_are_refused_at_start() {
    let cases = [
        (JwtAlgorithm::Rs256, "rsa.pem", "holds a private key"),
        (JwtAlgorithm::Rs256, "ec.pub.pem", "holds no public key for RS256"),
        (JwtAlgorithm::Rs256, "rsa1024.pub.pem", "too small"),
        (JwtAlgorithm::Es256, "rsa.pub.pem", "holds no public key for ES256"),
        (JwtAlgorithm::EdDsa, "absent.pem", "No such file"),
        (JwtAlgorithm::Es256, "jwks.json", "has no public key for ES256"),
    ];
    for (algorithm, file, reason) in cases {
        let error = Verifier::new(&public_key_config(algorithm, file)).err().unwrap().to_string();
        assert!(error.contains(reason), "{file}: {error}");
    }
}

#[test]
fn an_identity_has_what_the_token_says() {
    let full = identity_of(json!({"iss": "app", "username": "ann.b-c_9", "role": "moderator", "jti": "j1"}));
    assert_eq!(
        full,
        Identity {
            iss: "app".into(),
            sub: "u1".into(),
            username: Some("ann.b-c_9".into()),
            role: Role::Moderator,
            session_id: "s1".into(),
            issued_at: Some(NOW - 60),
            expires_at: NOW + 60,
        }
    );
    for (role, expected) in [
        (json!("admin"), Role::Admin),
        (json!("Admin"), Role::User),
        (json!("root"), Role::User),
        (json!(["admin"]), Role::User),
        (json!(null), Role::User),
    ] {
        assert_eq!(identity_of(json!({"role": role})).role, expected, "{role}");
    }
    for name in [json!("ab"), json!("a b c"), json!("a".repeat(33)), json!("näme"), json!(7), json!(["ann"])] {
        assert_eq!(identity_of(json!({"username": name})).username, None, "{name}");
    }
    assert_eq!(&*identity_of(json!({"sid": null, "jti": "j1"})).session_id, "j1");
    assert_eq!(identity_of(json!({"iat": NOW + 3600})).issued_at, None, "a date in the future is none");
    assert_eq!(identity_of(json!({"exp": 1e300})).expires_at, 253_402_300_799);
}

#[test]
fn without_a_session_the_hash_of_what_is_signed_names_it() {
    let session = |changes: Value| identity_of(changes).session_id;
    let first = session(json!({"sid": null}));
    assert_eq!(first.len(), 64);
    assert_eq!(first, session(json!({"sid": null})));
    assert_ne!(first, session(json!({"sid": null, "exp": NOW + 61})));
}

#[test]
fn issued_tokens_are_accepted() {
    for (issuer, audience) in [("", ""), ("app", ""), ("app", "chat")] {
        let config = config(issuer, audience);
        let (verifier, tokens) = (Verifier::new(&config).unwrap(), Issuer::new(&config));
        let subject = Subject { sub: "42", username: Some("ann"), role: Role::Admin };

        let (token, exp) = tokens.access(subject, "session", NOW);
        let own = verifier.verify(&token, NOW).unwrap();
        assert_eq!((&*own.iss, &*own.sub, own.username.as_deref()), ("veza", "42", Some("ann")));
        assert_eq!((own.role, &*own.session_id, own.expires_at), (Role::Admin, "session", exp));
        assert_eq!(exp, NOW + 900);
        assert_eq!(verifier.verify(&token, exp + 5), Err(TokenError::Expired));

        let token = tokens.application(subject, Duration::from_secs(60), NOW).unwrap();
        let foreign = verifier.verify(&token, NOW).unwrap();
        assert_eq!((&*foreign.iss, &*foreign.sub, foreign.expires_at), (issuer, "42", NOW + 60));
        let other = tokens.application(subject, Duration::from_secs(60), NOW).unwrap();
        assert_ne!(verifier.verify(&other, NOW).unwrap().session_id, foreign.session_id);
    }
    let config = public_key_config(JwtAlgorithm::EdDsa, "ed.pub.pem");
    let subject = Subject { sub: "42", username: None, role: Role::User };
    assert_eq!(Issuer::new(&config).application(subject, Duration::from_secs(60), NOW), None);
}
