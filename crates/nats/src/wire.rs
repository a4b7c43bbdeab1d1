//! The connections under sessions: async-nats', or others that speak as servers do.

use std::future::ready;
use std::sync::Arc;
use std::time::Duration;

use async_nats::message::OutboundMessage;
use async_nats::{
    Client, ConnectError, ConnectErrorKind, ConnectOptions, Event, Message, PublishError, ServerAddr,
    ServerInfo, SubscribeError,
};
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use futures_util::{FutureExt, StreamExt};
use ring::rand::{SecureRandom, SystemRandom};

use super::cluster_config::{ClusterConfig, Credentials};

/// Opens connections.
pub trait Dialer: Send + Sync {
    /// Connects to one of the servers, each of which is tried once. `events` is told what happens to the connection.
    ///
    /// # Errors
    /// None of them accepts it.
    fn dial<'a>(
        &'a self,
        config: &'a ClusterConfig,
        servers: &'a [ServerAddr],
        events: Events,
    ) -> BoxFuture<'a, Result<Box<dyn Wire>, ConnectError>>;
}

/// Called for each event of a connection.
pub type Events = Arc<dyn Fn(&Event) + Send + Sync>;

/// A connection to one server, which does not come back when it is lost. It ends with its last owner: this, or a
/// stream of messages.
pub trait Wire: Send + Sync {
    /// The server, as it has introduced itself.
    fn server(&self) -> ServerInfo;

    /// The largest message that the server accepts, in bytes.
    fn max_payload(&self) -> usize;

    /// A subject of its own for answers.
    fn new_inbox(&self) -> String;

    /// A number that others cannot guess. `None`: the system has no randomness.
    fn unguessable(&self) -> Option<u64>;

    /// Publishes a message after those before it.
    ///
    /// # Errors
    /// It was not sent.
    ///
    /// # Cancel safety
    /// The message is sent or not.
    fn publish(&self, message: OutboundMessage) -> BoxFuture<'_, Result<(), PublishError>>;

    /// The messages to a subject from now on. They end with the connection.
    ///
    /// # Errors
    /// The connection is lost.
    fn subscribe(
        &self,
        subject: String,
    ) -> BoxFuture<'_, Result<BoxStream<'static, Message>, SubscribeError>>;
}

/// Connections of async-nats, over TCP and TLS.
#[derive(Debug, Clone, Copy)]
pub struct AsyncNats;

impl Dialer for AsyncNats {
    fn dial<'a>(
        &'a self,
        config: &'a ClusterConfig,
        servers: &'a [ServerAddr],
        events: Events,
    ) -> BoxFuture<'a, Result<Box<dyn Wire>, ConnectError>> {
        async move {
            let invalid = |error| ConnectError::with_source(ConnectErrorKind::Authentication, error);
            let options = options(config).map_err(invalid)?;
            let options = options.max_reconnects(servers.len()).event_callback(move |event| {
                events(&event);
                ready(())
            });
            let client = options.connect(servers).await?;
            // async-nats would reconnect and send what it still holds: messages whose outcome is reported as unknown by
            // then.
            let failed = |error| ConnectError::with_source(ConnectErrorKind::Io, error);
            client.set_server_pool(NOWHERE).await.map_err(failed)?;
            Ok(Box::new(client) as Box<dyn Wire>)
        }
        .boxed()
    }
}

impl Wire for Client {
    fn server(&self) -> ServerInfo {
        self.server_info()
    }

    fn max_payload(&self) -> usize {
        Self::max_payload(self)
    }

    fn new_inbox(&self) -> String {
        Self::new_inbox(self)
    }

    fn unguessable(&self) -> Option<u64> {
        let mut bytes = [0; 8];
        SystemRandom::new().fill(&mut bytes).ok()?;
        Some(u64::from_ne_bytes(bytes))
    }

    fn publish(&self, message: OutboundMessage) -> BoxFuture<'_, Result<(), PublishError>> {
        async move {
            let OutboundMessage { subject, reply, payload, headers } = message;
            // Without a header, none is sent.
            let headers = headers.unwrap_or_default();
            match reply {
                None => self.publish_with_headers(subject, headers, payload).await,
                Some(reply) => self.publish_with_reply_and_headers(subject, reply, headers, payload).await,
            }
        }
        .boxed()
    }

    fn subscribe(
        &self,
        subject: String,
    ) -> BoxFuture<'_, Result<BoxStream<'static, Message>, SubscribeError>> {
        async move { Ok(Self::subscribe(self, subject).await?.boxed()) }.boxed()
    }
}

fn options(config: &ClusterConfig) -> Result<ConnectOptions, std::io::Error> {
    let mut options = ConnectOptions::new()
        .name("sluicegate-bridge")
        .custom_inbox_prefix(&config.inbox)
        // A caller tries two servers at least.
        .connection_timeout(config.request_timeout / 2)
        .ping_interval(PING_INTERVAL)
        .ignore_discovered_servers();
    options = match &config.credentials {
        Credentials::None => options,
        Credentials::Password { user, password } => options.user_and_password(user.clone(), password.clone()),
        Credentials::Token(token) => options.token(token.clone()),
        Credentials::NKey(seed) => options.nkey(seed.clone()),
        Credentials::Creds(text) => options.credentials(text)?,
    };
    if let Some(tls) = &config.tls {
        options = options.require_tls(true).tls_client_config(tls.client.clone());
        if tls.handshake_first {
            options = options.tls_first();
        }
    }
    Ok(options)
}

/// An address that nobody listens to.
const NOWHERE: &str = "127.0.0.1:0";
/// A server that is silent for three times this is given up.
const PING_INTERVAL: Duration = Duration::from_secs(10);
