//! What settings must be together, and what production refuses.

use super::{Config, ConfigError, Environment, JwtAlgorithm, Secret};
use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

/// Bytes of a secret that withstands guessing.
pub const SECRET_BYTES_MIN: usize = 32;
/// A secret of fewer different bytes was typed, not drawn.
const SECRET_DISTINCT_MIN: usize = 8;

/// Something that the server can run with, but should not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning(pub String);

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Checks all of it; problems and warnings name their settings.
pub fn check(config: &mut Config, problems: &mut Vec<String>) -> Vec<Warning> {
    let mut warnings = Vec::new();
    check_secret(config, problems, &mut warnings);
    check_keys(config, problems);
    check_server(config, problems);
    check_search(config, problems);
    warnings
}

fn check_secret(config: &Config, problems: &mut Vec<String>, warnings: &mut Vec<Warning>) {
    let secret = config.security.jwt_secret.expose().as_bytes();
    let mut distinct = secret.to_vec();
    distinct.sort_unstable();
    distinct.dedup();
    let weakness = if secret.is_empty() {
        "is missing".to_owned()
    } else if secret.len() < SECRET_BYTES_MIN {
        format!("has {} bytes", secret.len())
    } else if distinct.len() < SECRET_DISTINCT_MIN {
        "is a repetition".to_owned()
    } else {
        return;
    };
    let wanted = format!("security.jwt_secret: {weakness}, expected {SECRET_BYTES_MIN} random bytes or more");
    match config.server.environment {
        Environment::Production => problems.push(format!("{wanted} in production (openssl rand -hex 32)")),
        Environment::Development if secret.is_empty() => {}
        Environment::Development => warnings.push(Warning(format!("{wanted}; production would refuse it"))),
    }
}

fn check_search(config: &Config, problems: &mut Vec<String>) {
    let name = &config.search.language;
    let good = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    if name.is_empty() || name.len() > 63 || !name.bytes().all(good) {
        problems.push(format!("search.language: \"{}\", expected a name such as \"english\"", name.escape_debug()));
    }
}

fn check_keys(config: &Config, problems: &mut Vec<String>) {
    let security = &config.security;
    if security.jwt_issuer == crate::auth::OWN_ISSUER {
        problems.push(format!("security.jwt_issuer: \"{}\" is the server's own issuer", crate::auth::OWN_ISSUER));
    }
    let files = [&security.jwt_public_key_file, &security.jwks_file].into_iter().flatten().count();
    match (security.jwt_algorithm, files) {
        (JwtAlgorithm::Hs256, 0) => {}
        (JwtAlgorithm::Hs256, _) => problems.push(
            "security.jwt_public_key_file, security.jwks_file: not used with jwt_algorithm \"HS256\", expected \"\""
                .into(),
        ),
        (_, 1) => {}
        (other, _) => problems.push(format!(
            "security.jwt_algorithm: \"{}\" needs either jwt_public_key_file or jwks_file",
            other.name()
        )),
    }
}

fn check_server(config: &mut Config, problems: &mut Vec<String>) {
    let server = &mut config.server;
    if server.environment == Environment::Production && server.echo_endpoint {
        problems.push("server.echo_endpoint: a development switch, expected false in production".into());
    }
    if server.internal_addr.is_some_and(|address| address == server.bind_addr && address.port() != 0) {
        problems.push("server.internal_addr: the same as server.bind_addr, expected another port or \"\"".into());
    }
    for origin in &mut server.allowed_origins {
        // Browsers send scheme and host in lower case, and no path.
        origin.make_ascii_lowercase();
        let host = origin.strip_prefix("https://").or_else(|| origin.strip_prefix("http://")).unwrap_or("");
        if host.is_empty() || !host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._:[]".contains(&b)) {
            problems.push(format!(
                "server.allowed_origins: \"{}\", expected scheme, host and port alone, as \"https://app.example.com\"",
                origin.escape_debug()
            ));
        }
    }
}

impl Config {
    /// Makes sure that there is a secret: in development an empty one is read from `data_dir/jwt_secret`, which is
    /// made (with mode 0600) if it is not there. Its loss ends all of the server's own access tokens.
    ///
    /// # Errors
    /// The file cannot be read or made, or holds no secret.
    pub fn ensure_secret(&mut self) -> Result<(), ConfigError> {
        if !self.security.jwt_secret.is_empty() {
            return Ok(());
        }
        let path = self.server.data_dir.join("jwt_secret");
        let failed = |error: io::Error| ConfigError::one(format!("{}: {error}", path.display()));
        make_directory(&self.server.data_dir).map_err(failed)?;
        let text = match fs::read_to_string(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => keep_secret(&path).map_err(failed)?,
            other => other.map_err(failed)?,
        };
        let secret = text.trim();
        if secret.len() < SECRET_BYTES_MIN {
            let problem = format!("{}: holds no secret; remove it, and one is made", path.display());
            return Err(ConfigError::one(problem));
        }
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).map_err(failed)?;
        self.security.jwt_secret = Secret::new(secret);
        Ok(())
    }
}

/// Makes the data directory, for its owner alone, if it is not there.
///
/// # Errors
/// Of the file system.
pub fn make_directory(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Writes a new secret, unless another process was faster: then its secret is the one.
fn keep_secret(path: &Path) -> io::Result<String> {
    let mut bytes = [0; SECRET_BYTES_MIN];
    getrandom::fill(&mut bytes).map_err(io::Error::other)?;
    let secret: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let draft = path.with_extension(format!("{}.new", std::process::id()));
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
    file.write_all(secret.as_bytes())?;
    file.sync_all()?;
    // A link, unlike a rename, does not replace: of two processes one wins and both use its secret.
    let linked = fs::hard_link(&draft, path);
    fs::remove_file(&draft)?;
    match linked {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    if let Some(directory) = path.parent() {
        File::open(directory)?.sync_all()?;
    }
    fs::read_to_string(path)
}
