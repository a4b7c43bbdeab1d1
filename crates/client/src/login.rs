//! Tokens of a client that logs in: one for each connection, and another one before it expires.

use std::fmt;
use std::sync::{Arc, Weak};
use std::time::Duration;

use futures_util::future::BoxFuture;
use sluicegate_protocol::CmdAuth;
use sluicegate_protocol::pub_sub_req::Req;
use sluicegate_protocol::pub_sub_resp::Resp;
use tokio::sync::Mutex;
use tokio::time::{sleep, timeout};
use tracing::debug;

use crate::inbox::Inbox;
use crate::session::Session;
use crate::{ConnectError, Error, retry};

/// Why there is no token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct LoginError {
    /// The cause, without secrets: it is part of errors and of the log.
    pub detail: String,
    /// Another attempt can succeed.
    pub retriable: bool,
}

/// The source of a client's tokens. Clones share it.
#[derive(Clone)]
pub(crate) struct Login {
    source: Arc<dyn Fn() -> BoxFuture<'static, Result<String, LoginError>> + Send + Sync>,
    /// An issuer can take the second of two calls for a theft of the login.
    turn: Arc<Mutex<()>>,
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login").finish_non_exhaustive()
    }
}

impl Login {
    pub(crate) fn new<F>(refresh: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<String, LoginError>> + Send + 'static,
    {
        Self { source: Arc::new(move || Box::pin(refresh())), turn: Arc::new(Mutex::new(())) }
    }

    /// Another token.
    pub(crate) async fn token(&self) -> Result<String, LoginError> {
        let _turn = self.turn.lock().await;
        (self.source)().await
    }

    /// Shows the server of `session` another token whenever it says that the identity expires. If that fails, the
    /// server ends the session, whose error says why. Each attempt can take up to `limit`.
    pub(crate) async fn renew(self, session: Weak<Session>, limit: Duration) {
        // A server that does not know the command answers with an error, its last answer.
        let Some(Ok(mut expiry)) = watch(&session).await else { return };
        while let Some(answer) = expiry.next().await {
            if !matches!(answer, Resp::SessionExpiringResp(_)) {
                continue;
            }
            let mut failures: u32 = 0;
            loop {
                let renewed = self.show(&session, limit).await;
                let Some(session) = session.upgrade() else { return };
                session.pending.note_renewal(renewed.as_ref().err().cloned());
                drop(session);
                let Err(why) = renewed else { break };
                failures = failures.saturating_add(1);
                debug!("failed to renew the identity: {why}, {failures} in a row");
                let Some(pause) = retry::resume_pause(&why, failures, false) else { break };
                sleep(pause).await;
            }
        }
    }

    async fn show(&self, session: &Weak<Session>, limit: Duration) -> Result<(), Error> {
        let token = timeout(limit, self.token()).await.map_err(|_| Error::Timeout { after: limit })?;
        let token = token.map_err(|why| Error::reconnect(&why.into(), true))?;
        // Nobody needs it any more.
        let Some(session) = session.upgrade() else { return Ok(()) };
        session.command(Req::CmdAuth(CmdAuth { token }), limit).await.map(drop)
    }
}

/// Answers that say when the identity expires. None: nobody uses the session.
async fn watch(session: &Weak<Session>) -> Option<Result<Inbox, Error>> {
    let session = session.upgrade()?;
    Some(session.expiry().await)
}

impl From<LoginError> for ConnectError {
    fn from(why: LoginError) -> Self {
        Self::Login(why)
    }
}
