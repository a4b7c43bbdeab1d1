//! SASL authentication with a broker: the mechanisms and their messages.

mod oauthbearer;
mod oidc;
mod scram;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

pub(crate) use oauthbearer::Extension;
#[cfg(test)]
pub(crate) use oidc::tests;
pub(crate) use oidc::{ClientCredentials, Oidc};
pub(crate) use scram::Hash;
#[cfg(any(test, feature = "testing"))]
pub use scram::check_challenge;
use sluicegate_tls_faults::span;
use tokio::time::Instant;

use crate::api::{SaslAuthenticateAnswer, SaslAuthenticateRequest, SaslHandshakeRequest};
use crate::backoff::after;
use crate::connection::Connection;
use crate::error::ConnectionError;
use crate::redact::{Secret, sanitize};

/// The mechanism and its credentials.
#[derive(Debug, Clone)]
pub(crate) enum Sasl {
    Plain(Credentials),
    Scram(Hash, Credentials),
    OAuthBearer(TokenSource, Vec<Extension>),
}

/// A user of the cluster.
#[derive(Debug, Clone)]
pub(crate) struct Credentials {
    pub(crate) username: String,
    pub(crate) password: Secret,
}

/// The source of tokens.
#[derive(Debug, Clone)]
pub(crate) enum TokenSource {
    /// A file, read for each authentication: to renew the token, write it to the file.
    File(PathBuf),
    /// An endpoint. All connections share its token.
    Oidc(Arc<Oidc>),
}

/// The reason for a missing token.
#[derive(Debug, Clone)]
pub(crate) struct TokenFault {
    pub(crate) what: String,
    pub(crate) retriable: bool,
}

/// The authentication of one connection.
struct Exchange<'a> {
    connection: &'a Connection,
    timeout: Duration,
    /// Secrets that must not be quoted from the broker's messages.
    secrets: Vec<&'a Secret>,
}

impl Sasl {
    /// The mechanism's name in the protocol.
    fn mechanism(&self) -> &'static str {
        match self {
            Sasl::Plain(_) => "PLAIN",
            Sasl::Scram(hash, _) => hash.mechanism(),
            Sasl::OAuthBearer(..) => "OAUTHBEARER",
        }
    }

    /// Authenticates a new connection (KIP-43, KIP-152). Gives the lifetime of the authentication, if it is limited
    /// (KIP-368).
    pub(crate) async fn authenticate(
        &self,
        connection: &Connection,
        deadline: Instant,
    ) -> Result<Option<Duration>, ConnectionError> {
        let timeout = deadline.saturating_duration_since(Instant::now());
        let mechanism = self.mechanism();
        let mut exchange = Exchange { connection, timeout, secrets: Vec::new() };
        exchange.handshake(mechanism).await?;
        match self {
            Sasl::Plain(Credentials { username, password }) => {
                exchange.secrets.push(password);
                // RFC 4616, section 2: `message = [authzid] UTF8NUL authcid UTF8NUL passwd`.
                let message = format!("\0{username}\0{}", password.expose());
                Ok(exchange.send(message).await?.lifetime)
            }
            Sasl::Scram(hash, Credentials { username, password }) => {
                exchange.secrets.push(password);
                exchange.scram(scram::Client::new(*hash, username, password.clone())).await
            }
            Sasl::OAuthBearer(tokens, extensions) => {
                // Leaves time for the broker, and for reporting the endpoint rather than the broker as the cause.
                let share = timeout.checked_div(10).unwrap_or_default().saturating_mul(8);
                let by = after(Instant::now(), share);
                let token = tokens.get(by).await.map_err(|TokenFault { what, retriable }| {
                    ConnectionError::Token { address: connection.address(), what, retriable }
                })?;
                exchange.secrets.push(&token);
                let mut answer = exchange.bearer(&token, extensions).await;
                match &mut answer {
                    Ok(_) => tokens.accepted(),
                    Err(ConnectionError::Authentication { retriable, .. }) => {
                        *retriable = tokens.rejected(&token);
                    }
                    Err(_) => {}
                }
                answer
            }
        }
    }
}

impl Sasl {
    /// The source of tokens, if brokers receive nothing but tokens.
    pub(crate) fn tokens(&self) -> Option<&TokenSource> {
        match self {
            Sasl::OAuthBearer(tokens, extensions) if extensions.is_empty() => Some(tokens),
            Sasl::OAuthBearer(..) | Sasl::Plain(_) | Sasl::Scram(..) => None,
        }
    }
}

impl TokenSource {
    pub(crate) async fn get(&self, deadline: Instant) -> Result<Secret, TokenFault> {
        match self {
            TokenSource::File(path) => oauthbearer::read_token(path.clone()).await,
            TokenSource::Oidc(oidc) => oidc.token(deadline).await,
        }
    }

    /// Records that a broker accepted a token.
    fn accepted(&self) {
        if let TokenSource::Oidc(oidc) = self {
            oidc.accepted();
        }
    }

    /// Records that a broker rejected this token. Gives whether the next one can be accepted.
    fn rejected(&self, token: &Secret) -> bool {
        match self {
            TokenSource::File(_) => false,
            TokenSource::Oidc(oidc) => oidc.rejected(token),
        }
    }
}

impl Exchange<'_> {
    async fn handshake(&self, mechanism: &'static str) -> Result<(), ConnectionError> {
        let answer = self.connection.request(&SaslHandshakeRequest { mechanism }, self.timeout).await?;
        match answer.error.map(|error| error.0.code()) {
            None => Ok(()),
            Some(UNSUPPORTED_SASL_MECHANISM) => {
                let enabled = sanitize(&answer.mechanisms.join(", "), &[]);
                Err(self.failed(format!("`{mechanism}` is not enabled: the broker accepts {enabled}")))
            }
            Some(ILLEGAL_SASL_STATE) => Err(self.failed(
                "the listener takes no SASL: set `security.protocol` to plaintext or ssl".to_owned(),
            )),
            Some(code) => {
                Err(self.failed(format!("the broker rejected the SASL handshake with error {code}")))
            }
        }
    }

    async fn scram(
        &self,
        client: Result<scram::Client, String>,
    ) -> Result<Option<Duration>, ConnectionError> {
        let failed = |what: String| self.failed(what);
        let client = client.map_err(failed)?;
        let challenge = self.send(client.first()).await?;
        // Thousands of hashes: too slow for a thread of the runtime.
        let proved = tokio::task::spawn_blocking(move || client.prove(&challenge.bytes)).await;
        let proof = proved.unwrap_or_else(|stopped| Err(stopped.to_string())).map_err(failed)?;
        let answer = self.send(proof.message.clone()).await?;
        proof.verify(&answer.bytes).map_err(failed)?;
        Ok(answer.lifetime)
    }

    async fn bearer(
        &self,
        token: &Secret,
        extensions: &[Extension],
    ) -> Result<Option<Duration>, ConnectionError> {
        let answer = self.send(oauthbearer::initial(token, extensions)).await?;
        if answer.bytes.is_empty() {
            return Ok(answer.lifetime);
        }
        let status = sanitize(&oauthbearer::status(&answer.bytes), &self.secrets);
        // RFC 7628, section 3.2.3: "The client MUST then send either an additional client response consisting of a
        // single %x01 … or a SASL cancellation token".
        let refusal = match self.send("\x01".to_owned()).await {
            Err(ConnectionError::Authentication { what, .. }) => what,
            Err(other) => other.to_string(),
            Ok(_) => "the broker rejected the token".to_owned(),
        };
        let status = if refusal.contains(&status) { String::new() } else { format!(" (status {status})") };
        // Brokers do not report the expiry.
        let expired = oauthbearer::expired_since(token, SystemTime::now());
        let expired = expired.map(|ago| format!("; the token expired {} ago", span(ago))).unwrap_or_default();
        Err(self.failed(format!("{refusal}{status}{expired}")))
    }

    /// Sends one message of the mechanism.
    async fn send(&self, message: String) -> Result<SaslAuthenticateAnswer, ConnectionError> {
        let request = SaslAuthenticateRequest { message: message.into() };
        let answer = self.connection.request(&request, self.timeout).await?;
        match answer.error {
            None => Ok(answer),
            Some(error) => Err(self.failed(format!("{error}: {}", sanitize(&answer.message, &self.secrets)))),
        }
    }

    fn failed(&self, what: String) -> ConnectionError {
        ConnectionError::Authentication { address: self.connection.address(), what, retriable: false }
    }
}

/// Kafka's error codes.
const UNSUPPORTED_SASL_MECHANISM: i16 = 33;
const ILLEGAL_SASL_STATE: i16 = 34;
