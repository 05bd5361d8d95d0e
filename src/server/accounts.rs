//! The server's own users, as the store keeps them.

use auth::{AccountError, Accounts, Login, NewAccount, NewSession, Rotated, Rotation};
use futures_util::future::BoxFuture;
use veza_engine::store::UserRow;

use crate::auth::service as auth;
use crate::store::{AuthAnswer, AuthError, AuthRequest, Store};

/// The store, asked by the accounts.
pub struct StoredAccounts(pub Store);

impl StoredAccounts {
    async fn ask<T>(
        &self,
        request: AuthRequest,
        read: impl FnOnce(AuthAnswer) -> Option<T>,
    ) -> Result<T, AccountError> {
        match self.0.auth(request).await {
            Ok(answer) => read(answer).ok_or(AccountError::Failed),
            Err(AuthError::UsernameTaken) => Err(AccountError::Taken),
            Err(AuthError::Unavailable) => Err(AccountError::Unavailable),
            Err(AuthError::Failed) => Err(AccountError::Failed),
        }
    }
}

impl Accounts for StoredAccounts {
    fn register(&self, account: NewAccount) -> BoxFuture<'_, Result<UserRow, AccountError>> {
        let NewAccount { username, password_hash, email, now } = account;
        let request = AuthRequest::Register { username, password_hash, email, now };
        Box::pin(self.ask(request, |answer| match answer {
            AuthAnswer::User(user) => Some(user),
            _ => None,
        }))
    }

    fn find(&self, username: Box<str>) -> BoxFuture<'_, Result<Option<Login>, AccountError>> {
        Box::pin(self.ask(AuthRequest::FindLogin { username }, |answer| match answer {
            AuthAnswer::Login(login) => Some(login),
            _ => None,
        }))
    }

    fn start_session(&self, session: NewSession) -> BoxFuture<'_, Result<(), AccountError>> {
        let NewSession { user, session_id, refresh_hash, now, expires_at } = session;
        let request = AuthRequest::StartSession { user_id: user.user_id, session_id, refresh_hash, now, expires_at };
        Box::pin(self.ask(request, |answer| matches!(answer, AuthAnswer::Done).then_some(())))
    }

    fn rotate(&self, rotation: Rotation) -> BoxFuture<'_, Result<Rotated, AccountError>> {
        let Rotation { refresh_hash, new_hash, now, expires_at, revoke_until } = rotation;
        let request = AuthRequest::Rotate { refresh_hash, new_hash, now, expires_at, revoke_until };
        Box::pin(self.ask(request, |answer| match answer {
            AuthAnswer::Rotated { user, session_id } => Some(Rotated::Done { user, session_id }),
            AuthAnswer::Reused { session_id, .. } => Some(Rotated::Reused { session_id }),
            AuthAnswer::Unknown => Some(Rotated::Unknown),
            _ => None,
        }))
    }
}
