use super::source::Sources;
use super::*;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

/// The example that every deployment begins with.
const EXAMPLE: &str = r#"
[server]
bind_addr = "127.0.0.1:8080"
environment = "development"
[database]
url = "postgresql://user:pass@localhost/veza_chat"
max_connections = 10
[security]
jwt_secret = "your-secret-key"
jwt_access_duration = "15m"
[limits]
max_message_length = 2000
max_connections_per_user = 5
"#;

/// A directory of one test, gone with it.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Scratch {
        let path = std::env::temp_dir().join(format!("veza-config-{}-{name}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Scratch(path)
    }
    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, text).unwrap();
        path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn load(name: &str, toml: &str, env: &[(&str, &str)]) -> Result<(Config, Vec<Warning>), String> {
    let scratch = Scratch::new(name);
    let file = scratch.file("veza.toml", toml);
    let env = env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Config::load_from(Sources { file: Some(&file), dotenv: None, env })
        .map_err(|error| error.to_string().replace(&format!("{}/", scratch.0.display()), ""))
}

#[test]
fn the_example_loads_with_a_warning_about_its_secret() {
    let (config, warnings) = load("example", EXAMPLE, &[]).unwrap();
    assert_eq!(config.security.jwt_secret.expose(), "your-secret-key");
    assert_eq!(warnings.len(), 1);
    assert!(warnings[0].0.contains("security.jwt_secret: has 15 bytes"), "{warnings:?}");
    let shown = format!("{config:?}");
    assert!(!shown.contains("your-secret-key") && !shown.contains("pass@"), "{shown}");
}

#[test]
fn the_printed_defaults_load_and_are_the_defaults() {
    let (config, warnings) = load("defaults", &Config::default_toml(), &[]).unwrap();
    assert_eq!((config, warnings), (Config::default(), vec![]));
}

#[test]
fn the_file_in_the_repository_is_the_printed_one() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/config/veza.example.toml");
    let hint = "make it anew with: cargo run -- default-config > config/veza.example.toml";
    assert!(fs::read_to_string(path).unwrap() == Config::default_toml(), "{hint}");
}

#[test]
fn the_engine_gets_its_own_defaults_by_default() {
    let (ours, own) = (Config::default().engine_limits(), veza_engine::limits::Limits::default());
    assert_eq!(format!("{ours:?}"), format!("{own:?}"));
}

#[test]
fn the_environment_overrides_dotenv_which_overrides_the_file() {
    let scratch = Scratch::new("order");
    let file = scratch.file("veza.toml", "[limits]\nhandshakes = 1\nmessages_burst = 1\ncommands_burst = 1\n");
    let dotenv = scratch.file(".env", "VEZA_LIMITS__HANDSHAKES=2\nVEZA_LIMITS__MESSAGES_BURST=2\nOTHER=1\n");
    let env = vec![("VEZA_LIMITS__HANDSHAKES".to_owned(), "3".to_owned())];
    let (config, _) = Config::load_from(Sources { file: Some(&file), dotenv: Some(&dotenv), env }).unwrap();
    let limits = &config.limits;
    assert_eq!((limits.handshakes, limits.messages_burst, limits.commands_burst), (3, 2, 1));
}

#[test]
fn variables_that_a_platform_makes_for_a_service_of_our_name_are_left_alone() {
    let names = ["VEZA_SERVICE_HOST", "VEZA_SERVICE_PORT_HTTP", "VEZA_PORT", "VEZA_PORT_8080_TCP_ADDR", "VEZA_TEST_X"];
    let env: Vec<(&str, &str)> = names.iter().map(|name| (*name, "tcp://10.0.0.1:8080")).collect();
    assert_eq!(load("links", "", &env).unwrap().0, Config::default());
    assert!(load("links", "", &[("VEZA_SERVER__SERVICE_HOST", "x")]).is_err());
}

#[test]
fn a_line_of_dotenv_that_cannot_be_read_is_named_but_not_shown() {
    let scratch = Scratch::new("dotenv");
    let dotenv = scratch.file(".env", "A=1\nVEZA_SECURITY__JWT_SECRET='hunter2\n");
    let error = Config::load_from(Sources { file: None, dotenv: Some(&dotenv), env: vec![] }).unwrap_err().to_string();
    assert!(error.contains(".env:2") && !error.contains("hunter2"), "{error}");
}

/// A file, the environment, and the one problem that they have.
type Case = (&'static str, &'static [(&'static str, &'static str)], &'static str);

#[test]
fn what_is_wrong_is_refused_with_its_place() {
    let cases: &[Case] = &[
        ("[servr]\n", &[], "veza.toml:1: servr: unknown section; did you mean server?"),
        (
            "[server]\nbind_adr = 1\n",
            &[],
            "veza.toml:2: server.bind_adr: unknown setting; did you mean server.bind_addr?",
        ),
        (
            "[server]\njwt_secret = \"hunter2\"\n",
            &[],
            "veza.toml:2: server.jwt_secret: unknown setting; did you mean security.jwt_secret?",
        ),
        ("shards = 1\n", &[], "veza.toml:1: shards: stands outside its section, which is [server]"),
        ("server = 1\n", &[], "veza.toml:1: server: got an integer, expected a [section]"),
        (
            "",
            &[("VEZA_DATABSE__URL", "x")],
            "environment: VEZA_DATABSE__URL: unknown variable; did you mean VEZA_DATABASE__URL?",
        ),
        (
            "",
            &[("VEZA_JWT_SECRET", "x")],
            "environment: VEZA_JWT_SECRET: unknown variable; did you mean VEZA_SECURITY__JWT_SECRET?",
        ),
        (
            "[limits]\n\nmax_frame_bytes = \"64k\"",
            &[],
            "veza.toml:3: limits.max_frame_bytes: got a string, expected a whole number from 1024 to 16777216",
        ),
        (
            "[limits]\nmalformed_frames = -1",
            &[],
            "veza.toml:2: limits.malformed_frames: got -1, expected a whole number from 0 to 2147483647",
        ),
        (
            "[server]\nshards = 1.5",
            &[],
            "veza.toml:2: server.shards: got a fraction, expected a whole number from 0 to 256",
        ),
        (
            "[server]\nauth_timeout = 10",
            &[],
            "veza.toml:2: server.auth_timeout: got an integer, expected a duration in quotes, such as \"15m\" or \"25s\"",
        ),
        (
            "[server]\nauth_timeout = \"2d\"",
            &[],
            "veza.toml:2: server.auth_timeout: got 2d, expected a duration from 50ms to 1h",
        ),
        (
            "[server]\nenvironment = \"prod\"",
            &[],
            "veza.toml:2: server.environment: got another word, expected one of \"development\", \"production\"",
        ),
        ("[security]\njwt_secret = 12345", &[], "veza.toml:2: security.jwt_secret: got an integer, expected a string"),
        (
            "[database]\nurl = \"mysql://u:hunter2@h/d\"",
            &[],
            "veza.toml:2: database.url: got a text of another form, expected \"sqlite://PATH\" or \
             \"postgresql://USER:PASSWORD@HOST/DATABASE\"",
        ),
        (
            "",
            &[("VEZA_SERVER__COMPRESSION", "maybe")],
            "environment: VEZA_SERVER__COMPRESSION: server.compression: got text, expected true or false",
        ),
        ("[security]\njwt_issuer = \"veza\"", &[], "security.jwt_issuer: \"veza\" is the server's own issuer"),
        (
            "[security]\njwt_algorithm = \"RS256\"",
            &[],
            "security.jwt_algorithm: \"RS256\" needs either jwt_public_key_file or jwks_file",
        ),
        (
            "[server]\nallowed_origins = [\"*\"]",
            &[],
            "server.allowed_origins: \"*\", expected scheme, host and port alone, as \"https://app.example.com\"",
        ),
        (
            "[server]\ninternal_addr = \"127.0.0.1:8080\"",
            &[],
            "server.internal_addr: the same as server.bind_addr, expected another port or \"\"",
        ),
        ("[search]\nlanguage = \"x'; --\"", &[], "search.language: \"x\\'; --\", expected a name such as \"english\""),
        ("[server]\nshards = 1\nshards = 2", &[], "veza.toml:3: duplicate key"),
    ];
    for (toml, env, expected) in cases {
        assert_eq!(load("refused", toml, env).unwrap_err(), *expected, "{toml} {env:?}");
    }
}

#[test]
fn a_file_that_is_no_toml_is_refused_without_showing_its_line() {
    let error = load("syntax", "[security]\njwt_secret = \"hunter2\n", &[]).unwrap_err();
    assert!(error.starts_with("veza.toml:2: ") && !error.contains("hunter2"), "{error}");
}

#[test]
fn every_problem_is_told_at_once() {
    let error = load("all", "[server]\nx = 1\n[limits]\nhandshakes = \"a\"\n", &[("VEZA_X", "1")]).unwrap_err();
    assert_eq!(error.lines().count(), 3, "{error}");
}

#[test]
fn production_refuses_weak_secrets_and_development_switches() {
    let strong = "0123456789abcdef0123456789abcdef";
    let repeated = "a".repeat(64);
    let cases: &[(&str, bool, Option<&str>)] = &[
        (strong, false, None),
        ("", false, Some("is missing")),
        ("your-secret-key", false, Some("has 15 bytes")),
        (&strong[..31], false, Some("has 31 bytes")),
        (&repeated, false, Some("is a repetition")),
        (strong, true, Some("server.echo_endpoint")),
    ];
    for (secret, echo, refused) in cases {
        let toml = format!(
            "[server]\nenvironment = \"production\"\necho_endpoint = {echo}\n[security]\njwt_secret = \"{secret}\"\n"
        );
        let result = load("production", &toml, &[]);
        match refused {
            None => assert_eq!(result.unwrap().1, vec![]),
            Some(reason) => {
                let error = result.unwrap_err();
                assert!(error.contains(reason), "{error}");
                assert!(secret.is_empty() || !error.contains(secret), "{error}");
            }
        }
    }
}

#[test]
fn a_generated_secret_is_kept_for_its_owner_alone() {
    let scratch = Scratch::new("secret");
    let mut config = Config::default();
    config.server.data_dir = scratch.0.join("data");
    let mut again = config.clone();
    config.ensure_secret().unwrap();
    again.ensure_secret().unwrap();
    let file = config.server.data_dir.join("jwt_secret");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(config.security.jwt_secret.expose().len(), 64);
    assert_eq!(config.security.jwt_secret, again.security.jwt_secret);
    assert_eq!(fs::read_dir(&config.server.data_dir).unwrap().count(), 1, "no draft is left");

    fs::write(&file, "short").unwrap();
    again.security.jwt_secret = Secret::default();
    assert!(again.ensure_secret().unwrap_err().to_string().contains("holds no secret"));
}
