//! Where the keys of an issuer come from: the configuration, or a URL.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use http::{Request, StatusCode, Uri};
use jsonwebtoken::Algorithm;
use rustls::ClientConfig;
use sluicegate_bounded_http::{Client, Limits, shown};
use sluicegate_tls_faults::Settings;
use thiserror::Error;
use tokio::sync::{Mutex, OwnedMutexGuard};
use tokio::time::Instant;

use crate::keys::{Keys, KeysError};

/// Where keys come from.
pub(crate) enum Source {
    /// They do not change.
    Fixed(Arc<Keys>),
    /// They are fetched when they are needed.
    Url(Arc<Fetched>),
}

/// The keys behind a URL.
pub(crate) struct Fetched {
    url: Uri,
    client: Client,
    /// The newest keys.
    keys: ArcSwapOption<Keys>,
    /// Held while they are fetched: all who wait share one request.
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    /// The end of the last request.
    asked: Option<Instant>,
    /// The end of the last one that succeeded.
    fetched: Option<Instant>,
}

/// Why keys were not fetched.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum FetchError {
    /// No answer, or an error.
    #[error("{0}")]
    Request(String),
    /// Another status than 200.
    #[error("status {0}")]
    Status(u16),
    /// The content cannot be used.
    #[error(transparent)]
    Keys(#[from] KeysError),
}

impl Source {
    /// Keys that are fetched from `url` when the first token needs one, again after [`MAX_AGE`], and, at most every
    /// [`REST`], for a token with a new key. While the URL is down, the known ones stay.
    pub(crate) fn url(url: Uri, tls: ClientConfig) -> Self {
        let client = Client::new(tls, SETTINGS, LIMITS);
        let (keys, state) = (ArcSwapOption::empty(), Arc::default());
        Self::Url(Arc::new(Fetched { url, client, keys, state }))
    }

    /// Keys, among which is one of a token with this algorithm and key id, if the issuer has it.
    ///
    /// # Errors
    /// None are known.
    ///
    /// # Cancel safety
    /// A drop ends the wait. The request goes on: clients that leave must not cause more of them.
    pub(crate) async fn keys_of(
        &self,
        algorithm: Algorithm,
        id: Option<&str>,
    ) -> Result<Arc<Keys>, FetchError> {
        match self {
            Self::Fixed(keys) => Ok(Arc::clone(keys)),
            Self::Url(fetched) => fetched.keys_of(algorithm, id).await,
        }
    }
}

impl Source {
    /// Fetches the keys, and keeps nothing. None: they do not come from a URL.
    pub(crate) async fn fetch(&self) -> Option<Result<Keys, FetchError>> {
        match self {
            Self::Fixed(_) => None,
            Self::Url(fetched) => Some(fetched.fetch().await),
        }
    }
}

impl Fetched {
    async fn keys_of(
        self: &Arc<Self>,
        algorithm: Algorithm,
        id: Option<&str>,
    ) -> Result<Arc<Keys>, FetchError> {
        let has = |keys: &Arc<Keys>| keys.of(algorithm, id).next().is_some();
        let known = self.keys.load_full();
        if let Some(keys) = &known
            && has(keys)
            && self.is_fresh()
        {
            return Ok(Arc::clone(keys));
        }
        let state = Arc::clone(&self.state).lock_owned().await;
        let now = Instant::now();
        let since = |time: Option<Instant>| time.map(|time| now.saturating_duration_since(time));
        // Another token may have fetched them meanwhile.
        let known = self.keys.load_full();
        let is_old = since(state.fetched).is_none_or(|age| age >= MAX_AGE);
        let wants = is_old || !known.as_ref().is_some_and(has);
        if wants && since(state.asked).is_none_or(|since| since >= REST) {
            let fetched = tokio::spawn(Arc::clone(self).refresh(state)).await;
            let fetched = fetched.unwrap_or_else(|error| Err(FetchError::Request(error.to_string())));
            if known.is_none() {
                fetched?;
            }
        }
        self.keys
            .load_full()
            .ok_or_else(|| FetchError::Request("they were asked for a moment ago".to_owned()))
    }

    /// Fetches the keys, and notes when.
    async fn refresh(self: Arc<Self>, mut state: OwnedMutexGuard<State>) -> Result<(), FetchError> {
        let fetched = self.fetch().await;
        state.asked = Some(Instant::now());
        let url = shown(&self.url);
        match fetched {
            Ok(mut keys) => {
                state.fetched = state.asked;
                let known = self.keys.load_full();
                for key in keys.refused() {
                    if !known.as_ref().is_some_and(|known| known.refused().contains(key)) {
                        tracing::warn!(url, %key, event = "key_refused", "a key of an issuer is refused");
                    }
                }
                if let Some(known) = known {
                    keys.keep(&known);
                }
                self.keys.store(Some(Arc::new(keys)));
                Ok(())
            }
            Err(error) => {
                tracing::warn!(url, %error, event = "keys_not_fetched", "failed to fetch the keys of an issuer");
                Err(error)
            }
        }
    }

    /// Whether nobody has to look at the keys' age now.
    fn is_fresh(&self) -> bool {
        // While another token fetches them, the known ones do.
        self.state.try_lock().map_or(true, |state| {
            let age = |time: Option<Instant>| time.map(|time| time.elapsed());
            age(state.fetched).is_some_and(|age| age < MAX_AGE)
                || age(state.asked).is_some_and(|since| since < REST)
        })
    }

    async fn fetch(&self) -> Result<Keys, FetchError> {
        let failed = |error: &dyn std::error::Error| FetchError::Request(error.to_string());
        let request =
            Request::get(self.url.clone()).body(Bytes::new().into()).map_err(|error| failed(&error))?;
        let response = self.client.send(request).await.map_err(|error| failed(&error))?;
        if response.status() != StatusCode::OK {
            return Err(FetchError::Status(response.status().as_u16()));
        }
        Ok(Keys::parse(response.body())?)
    }
}

/// Of the variable that the system's CAs can be replaced with.
const SETTINGS: Settings = Settings { ca: "SSL_CERT_FILE", certificate: None, names: None, revoked: None };
/// Keys are fetched again after this time, so that those that an issuer has withdrawn are forgotten.
pub(crate) const MAX_AGE: Duration = Duration::from_secs(300);
/// The time between two requests, whatever tokens clients send.
pub(crate) const REST: Duration = Duration::from_secs(10);
/// A request takes 5 s, and a set of keys 256 KiB, at most.
const LIMITS: Limits = Limits { max_body: 256 * 1024, within: Duration::from_secs(5) };

#[cfg(test)]
mod tests;
