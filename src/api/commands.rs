//! `POST /api/v1/<command>`: the commands of the WebSocket, one per request.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{FromRequest, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use veza_engine::input::Identity;
use veza_engine::wire::{CommandError, CommandType, ErrorCode};

use super::Api;
use super::backend::{AccountRequest, CommandResult, Full};
use super::conn::Peer;
use super::problem::Problem;

/// Time that a client has to send a request's body; beyond: 408.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

pub(super) async fn command(State(api): State<Arc<Api>>, request: Request) -> Result<Response, Problem> {
    let name = request.uri().path().rsplit('/').next().unwrap_or_default();
    let Some(kind) = CommandType::from_name(name) else {
        return Err(Problem::new(ErrorCode::UnknownType, "no such command"));
    };
    let identity = api.backend.verify(bearer(request.headers())?)?;
    if kind.connection_only() {
        return Err(Problem::new(ErrorCode::InvalidRequest, "this command needs a WebSocket connection"));
    }
    let body = body(&api, request).await?;
    let command = api.parse(kind, &body)?;
    let mut ticket = api.tickets.take().map_err(|Full| overloaded())?;
    let shard = shard_of(&identity, api.backend.shards());
    api.backend.command(shard, ticket.number, Box::new(identity), Box::new(command)).map_err(|Full| overloaded())?;
    match tokio::time::timeout(api.settings.answer_timeout, ticket.answer()).await {
        Ok(Some(result)) => reply(result),
        // The command may yet take effect: the same `client_id` finds out.
        Ok(None) | Err(_) => {
            Err(retry_later(ErrorCode::StoreUnavailable, "no answer in time; the outcome is unknown", 1000))
        }
    }
}

pub(super) async fn register(State(api): State<Arc<Api>>, request: Request) -> Result<Response, Problem> {
    account(&api, AccountRequest::Register, request).await
}

pub(super) async fn login(State(api): State<Arc<Api>>, request: Request) -> Result<Response, Problem> {
    account(&api, AccountRequest::Login, request).await
}

pub(super) async fn refresh(State(api): State<Arc<Api>>, request: Request) -> Result<Response, Problem> {
    account(&api, AccountRequest::Refresh, request).await
}

async fn account(api: &Api, kind: AccountRequest, request: Request) -> Result<Response, Problem> {
    let Some(&Peer(peer)) = request.extensions().get::<Peer>() else {
        unreachable!("every connection is served with its peer's address");
    };
    let body = body(api, request).await?;
    reply(api.backend.account(kind, peer.ip(), &body).await)
}

fn reply(result: CommandResult) -> Result<Response, Problem> {
    let data = result?;
    Ok(([(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-store")], data).into_response())
}

fn overloaded() -> Problem {
    retry_later(ErrorCode::Overloaded, "the server is overloaded, try again", 250)
}

fn retry_later(code: ErrorCode, message: &'static str, after_ms: u64) -> Problem {
    let mut error = Box::new(CommandError::new(code, message));
    error.retry_after_ms = Some(after_ms);
    error.into()
}

/// The token of `Authorization: Bearer`. One header, one token: what is ambiguous is refused.
fn bearer(headers: &HeaderMap) -> Result<&str, Problem> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let Some(value) = values.next() else {
        return Err(Problem::new(ErrorCode::Unauthenticated, "Authorization: Bearer <access token> is missing"));
    };
    let scheme_and_token = value.to_str().ok().and_then(|value| value.split_once(' '));
    match scheme_and_token {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") && values.next().is_none() => Ok(token.trim()),
        _ => Err(Problem::new(ErrorCode::InvalidToken, "expected one header Authorization: Bearer <access token>")),
    }
}

/// The whole body, whatever its content type says. The parser takes an empty one for no fields.
async fn body(api: &Api, request: Request) -> Result<Bytes, Problem> {
    let wrong = |status, code, message| Problem::with_status(status, code, message).closing();
    let bytes = match tokio::time::timeout(BODY_TIMEOUT, Bytes::from_request(request, &())).await {
        Ok(Ok(bytes)) => bytes,
        Ok(Err(rejection)) if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE => {
            return Err(wrong(
                rejection.status(),
                ErrorCode::MessageTooLong,
                "the body is larger than max_frame_bytes",
            ));
        }
        Ok(Err(_)) => return Err(wrong(StatusCode::BAD_REQUEST, ErrorCode::InvalidRequest, "the body is incomplete")),
        Err(_) => {
            return Err(wrong(StatusCode::REQUEST_TIMEOUT, ErrorCode::InvalidRequest, "the body came too slowly"));
        }
    };
    debug_assert!(bytes.len() <= api.settings.body_bytes_max);
    Ok(bytes)
}

/// One user's requests go to one shard, so that its cache of identities serves them.
fn shard_of(identity: &Identity, shards: u16) -> u16 {
    let mut hasher = DefaultHasher::new();
    (&identity.iss, &identity.sub).hash(&mut hasher);
    (hasher.finish() % u64::from(shards)) as u16
}
