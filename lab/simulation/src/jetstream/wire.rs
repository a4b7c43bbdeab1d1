//! The connection of a bridge to a server, which can be lost, or silent, at any message.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_nats::message::OutboundMessage;
use async_nats::{
    ConnectError, ConnectErrorKind, Event, Message, PublishError, PublishErrorKind, ServerAddr, ServerInfo,
    SubscribeError,
};
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, ready};
use futures_util::stream::{BoxStream, StreamExt, unfold};
use parking_lot::Mutex;
use sluicegate_nats::{ClusterConfig, Dialer, Events, Wire};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::JetStream;
use crate::network::Faults;

/// A bridge's side. Dropping it closes the connection.
struct Connection {
    link: Arc<Link>,
    outgoing: UnboundedSender<OutboundMessage>,
    /// Publishers take turns: async-nats' queue can be full.
    turns: tokio::sync::Mutex<()>,
    random: Mutex<fastrand::Rng>,
}

pub(super) struct Link {
    /// Cancelled when it is closed.
    closed: CancellationToken,
    /// Whether nothing gets through any more.
    is_silent: AtomicBool,
    inboxes: Mutex<Vec<Inbox>>,
    events: Events,
    faults: Arc<Faults>,
}

/// The messages of one subscription.
struct Inbox {
    /// With a wildcard at its end, or without.
    subject: String,
    messages: UnboundedSender<Message>,
}

/// The way of one bridge to the servers.
pub(crate) struct Route {
    pub(crate) servers: JetStream,
    /// Cancelled when the bridge is killed.
    pub(crate) killed: CancellationToken,
}

impl Dialer for Route {
    fn dial<'a>(
        &'a self,
        config: &'a ClusterConfig,
        _: &'a [ServerAddr],
        events: Events,
    ) -> BoxFuture<'a, Result<Box<dyn Wire>, ConnectError>> {
        async move {
            let servers = &self.servers;
            let faults = &servers.0.faults;
            faults.delay().await;
            let refused = || ConnectError::new(ConnectErrorKind::Io);
            let (number, hangs, server_ends) = {
                let state = servers.0.logs.state();
                let up: Vec<_> =
                    state.brokers.iter().enumerate().filter(|(_, server)| server.is_up).collect();
                let chosen = servers.0.random.lock().usize(..up.len().max(1));
                let (number, server) = up.get(chosen).ok_or_else(refused)?;
                (*number, server.hangs(), server.connections.clone())
            };
            if hangs {
                sleep(config.request_timeout / 2).await;
                return Err(ConnectError::new(ConnectErrorKind::TimedOut));
            }
            if self.killed.is_cancelled() || faults.one_of(faults.state.lock().refuses) {
                return Err(refused());
            }
            let link = Arc::new(Link {
                closed: CancellationToken::new(),
                is_silent: AtomicBool::new(false),
                inboxes: Mutex::default(),
                events,
                faults: Arc::clone(faults),
            });
            let (outgoing, messages) = unbounded_channel();
            let (to, killed) = (servers.clone(), self.killed.clone());
            link.spawn(move |link| async move {
                let received = to.receive(number, &link, messages);
                killed.run_until_cancelled(server_ends.run_until_cancelled(received)).await;
                link.end();
            });
            let random = Mutex::new(servers.0.random.lock().fork());
            let turns = tokio::sync::Mutex::default();
            Ok(Box::new(Connection { link, outgoing, turns, random }) as Box<dyn Wire>)
        }
        .boxed()
    }
}

impl JetStream {
    /// Takes the messages of a connection to a server.
    async fn receive(
        &self,
        server: usize,
        link: &Arc<Link>,
        mut messages: UnboundedReceiver<OutboundMessage>,
    ) {
        while let Some(message) = messages.recv().await {
            self.0.faults.delay().await;
            self.0.logs.wakes(server).await;
            if self.0.faults.one_of(self.0.faults.state.lock().breaks) {
                return;
            }
            if !link.is_silent.load(Ordering::Relaxed) {
                self.take(link, message);
                self.0.faults.jump_if_armed().await;
            }
        }
    }
}

impl Connection {
    fn number(&self) -> u64 {
        self.random.lock().u64(..)
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.link.close();
    }
}

impl Wire for Connection {
    fn server(&self) -> ServerInfo {
        ServerInfo { version: "2.12.0".to_owned(), ..ServerInfo::default() }
    }

    fn max_payload(&self) -> usize {
        1 << 20
    }

    fn new_inbox(&self) -> String {
        format!("_INBOX.{}", self.number())
    }

    fn unguessable(&self) -> Option<u64> {
        Some(self.number())
    }

    fn publish(&self, message: OutboundMessage) -> BoxFuture<'_, Result<(), PublishError>> {
        async move {
            let _turn = self.turns.lock().await;
            if self.number().is_multiple_of(8) {
                self.link.faults.delay().await;
            }
            let sent = self.outgoing.send(message);
            sent.map_err(|_| PublishError::new(PublishErrorKind::Send))
        }
        .boxed()
    }

    fn subscribe(
        &self,
        subject: String,
    ) -> BoxFuture<'_, Result<BoxStream<'static, Message>, SubscribeError>> {
        let (messages, received) = unbounded_channel();
        if !self.link.closed.is_cancelled() {
            self.link.inboxes.lock().push(Inbox { subject, messages });
        }
        let stream = unfold(received, |mut received: UnboundedReceiver<Message>| async {
            Some((received.recv().await?, received))
        });
        ready(Ok(stream.fuse().boxed())).boxed()
    }
}

impl Link {
    /// Runs a task until the connection is closed.
    pub(super) fn spawn<F>(self: &Arc<Self>, task: impl FnOnce(Arc<Self>) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let (closed, task) = (self.closed.clone(), task(Arc::clone(self)));
        tokio::spawn(async move { closed.run_until_cancelled(task).await });
    }

    /// Sends a message to its subject.
    pub(super) fn deliver(self: &Arc<Self>, message: Message) {
        let subject = message.subject.clone();
        self.deliver_to(&subject, message);
    }

    /// Sends a message to those who listen to `inbox`, if it still gets through.
    pub(super) fn deliver_to(self: &Arc<Self>, inbox: &str, message: Message) {
        if self.faults.one_of(self.faults.state.lock().breaks) {
            self.end();
        }
        if self.faults.one_of(self.faults.state.lock().silences)
            && !self.is_silent.swap(true, Ordering::Relaxed)
        {
            self.spawn(|link| async move {
                // async-nats' pings are not answered.
                sleep(SILENCE).await;
                link.end();
            });
        }
        if self.is_silent.load(Ordering::Relaxed) {
            return;
        }
        let is_it = |of: &&Inbox| match of.subject.strip_suffix('*') {
            Some(prefix) => inbox.starts_with(prefix),
            None => of.subject == inbox,
        };
        if let Some(inbox) = self.inboxes.lock().iter().find(is_it) {
            // Nobody may listen any more.
            let _ = inbox.messages.send(message);
        }
    }

    /// The connection is lost. async-nats can drop the event.
    fn end(&self) {
        if !self.closed.is_cancelled() && self.faults.one_of(2) {
            (self.events)(&Event::Disconnected);
        }
        self.close();
    }

    fn close(&self) {
        self.closed.cancel();
        self.inboxes.lock().clear();
    }
}

/// Three of async-nats' pings.
const SILENCE: Duration = Duration::from_secs(30);
