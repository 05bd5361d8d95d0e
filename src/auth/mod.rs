//! Who speaks: tokens and the server's own users. Knows neither sockets nor the database; what it needs of the latter
//! is handed in.

/// The `iss` of the server's own tokens.
pub const OWN_ISSUER: &str = "veza";
