//! The connection to a cluster: one at a time, opened by the first caller that needs it.

use std::sync::{Arc, Weak};
use std::time::Duration;

use async_nats::{ConnectError, ConnectErrorKind, ServerAddr};
use futures_util::future::{self, BoxFuture, FutureExt};
use parking_lot::Mutex;
use sluicegate_telemetry::metrics::RequestMetrics;
use tokio::time::{Instant, sleep_until, timeout_at};
use tokio_util::task::AbortOnDropHandle;

use super::cluster_config::ClusterConfig;
use super::error::{self, ReadError};
use super::session::Session;
use super::wire::Dialer;

/// Opens sessions, one after the other.
///
/// async-nats would reconnect by itself, also for a client that was dropped, and for ever. Here each session ends with
/// its connection, so that everything that waits for an answer learns of it at once, and nothing outlives its owner.
pub(super) struct Connection(Arc<Shared>);

/// The state that an attempt to connect shares with callers.
struct Shared {
    config: ClusterConfig,
    dialer: Arc<dyn Dialer>,
    metrics: RequestMetrics,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    session: Option<Arc<Session>>,
    /// Servers that a server has announced, at most [`MAX_DISCOVERED`].
    discovered: Vec<ServerAddr>,
    failure: Option<Failure>,
    dialling: Option<Dialling>,
}

/// An attempt to connect. It has a task of its own: the callers that wait for it have deadlines that can be too short.
struct Dialling {
    outcome: Outcome,
    _task: AbortOnDropHandle<()>,
}

type Outcome = future::Shared<BoxFuture<'static, Result<Arc<Session>, ReadError>>>;

/// The last attempt to connect has failed.
#[derive(Clone)]
struct Failure {
    error: ReadError,
    retriable: bool,
    /// Failures since the last session.
    count: u32,
    /// When to try again.
    again: Instant,
}

impl Connection {
    /// Sends nothing before the first call.
    pub(super) fn new(config: ClusterConfig, dialer: Arc<dyn Dialer>, metrics: RequestMetrics) -> Self {
        Self(Arc::new(Shared { config, dialer, metrics, state: Mutex::default() }))
    }

    pub(super) fn metrics(&self) -> &RequestMetrics {
        &self.0.metrics
    }

    pub(super) fn config(&self) -> &ClusterConfig {
        &self.0.config
    }

    /// The session, or a new one. Retries until `deadline`, unless an operator must fix something first.
    pub(super) async fn session(&self, deadline: Instant) -> Result<Arc<Session>, ReadError> {
        if let Some(session) = self.current() {
            return Ok(session);
        }
        timeout_at(deadline, self.dial()).await.unwrap_or_else(|_| Err(self.failure()))
    }

    /// The session, unless its connection is lost.
    pub(super) fn current(&self) -> Option<Arc<Session>> {
        self.0.state.lock().session.clone().filter(|session| !session.is_lost())
    }

    /// Why there is no session.
    pub(super) fn failure(&self) -> ReadError {
        let no_answer = || ReadError::Unreachable {
            cause: "no server answered in time".to_owned(),
            retriable: true,
            key: error::SERVERS,
        };
        self.0.state.lock().failure.as_ref().map_or_else(no_answer, |failure| failure.error.clone())
    }

    /// The attempt under way, or a new one.
    fn dial(&self) -> Outcome {
        let mut state = self.0.state.lock();
        if let Some(dialling) = &state.dialling {
            return dialling.outcome.clone();
        }
        let outcome = dial(Arc::downgrade(&self.0)).boxed().shared();
        let task = AbortOnDropHandle::new(tokio::spawn(outcome.clone().map(drop)));
        state.dialling = Some(Dialling { outcome: outcome.clone(), _task: task });
        outcome
    }
}

/// Tries until there is a session, the owner of `shared` is gone, or an operator must fix something first.
async fn dial(shared: Weak<Shared>) -> Result<Arc<Session>, ReadError> {
    loop {
        let failure = shared.upgrade().ok_or(ReadError::Lost)?.state.lock().failure.clone();
        if let Some(Failure { error, retriable, again, .. }) = failure {
            if !retriable && Instant::now() < again {
                shared.upgrade().ok_or(ReadError::Lost)?.state.lock().dialling = None;
                return Err(error);
            }
            sleep_until(again).await;
        }
        let shared = shared.upgrade().ok_or(ReadError::Lost)?;
        let opened = Session::open(&*shared.dialer, &shared.config, &shared.servers()).await;
        shared.metrics.connected(opened.is_ok());
        match opened {
            Ok(session) => return Ok(shared.opened(session)),
            Err(error) => {
                let failure = shared.failed(&error);
                if !failure.retriable {
                    shared.state.lock().dialling = None;
                    return Err(failure.error);
                }
            }
        }
    }
}

impl Shared {
    /// Configured servers, and those that were discovered.
    fn servers(&self) -> Vec<ServerAddr> {
        let mut servers = self.config.servers.clone();
        let discovered = self.state.lock().discovered.clone();
        servers.extend(discovered.into_iter().filter(|server| !self.config.servers.contains(server)));
        servers
    }

    fn opened(&self, session: Session) -> Arc<Session> {
        let session = Arc::new(session);
        let mut state = self.state.lock();
        if self.config.discover {
            state.discovered = session.announced_servers().take(MAX_DISCOVERED).collect();
        }
        state.failure = None;
        state.dialling = None;
        state.session = Some(Arc::clone(&session));
        session
    }

    fn failed(&self, error: &ConnectError) -> Failure {
        use ConnectErrorKind::{Authentication, AuthorizationViolation, ServerParse, Tls};
        let retriable = !matches!(error.kind(), Authentication | AuthorizationViolation | ServerParse | Tls);
        let fault = sluicegate_tls_faults::find(error);
        let key = match error.kind() {
            Tls => "tls.ca",
            Authentication | AuthorizationViolation => self.config.credentials.key(),
            _ if fault.is_some() => "tls.ca",
            _ => error::SERVERS,
        };
        let servers: Vec<&str> = self.config.servers.iter().map(ServerAddr::as_url_str).collect();
        let cause = fault.map(|fault| self.config.explain(fault)).unwrap_or_else(|| error.to_string());
        let cause = format!("cannot connect to {}: {cause}", servers.join(","));
        let error = ReadError::Unreachable { cause, retriable, key };
        let mut state = self.state.lock();
        let count = state.failure.as_ref().map_or(0, |failure| failure.count);
        let pause = FIRST_PAUSE.saturating_mul(2_u32.saturating_pow(count)).min(MAX_PAUSE);
        // Bridges that failed together should not try again together.
        let pause = pause.mul_f64(1.0 - fastrand::f64() / 5.0);
        let now = Instant::now();
        let again = now.checked_add(pause).unwrap_or(now);
        let failure = Failure { error, retriable, count: count.saturating_add(1), again };
        state.failure = Some(failure.clone());
        failure
    }
}

const FIRST_PAUSE: Duration = Duration::from_millis(50);
const MAX_PAUSE: Duration = Duration::from_secs(2);
const MAX_DISCOVERED: usize = 100;
