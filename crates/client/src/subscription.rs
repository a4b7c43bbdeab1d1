//! Topics and streams that are read as records are written.

mod credit;
mod feed;
mod resume;
mod update;

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::Stream;
use tokio::sync::mpsc;

use crate::{Client, Error, Subscribe};
pub(crate) use credit::cost;
use feed::Feed;
pub(crate) use feed::Resume;
pub(crate) use resume::Away;
use resume::Topics;
pub(crate) use update::behind;
pub use update::{Delivery, SubscribedTopic, Update};

/// A stream of updates, made by [`Client::subscribe`] or, with those of NATS streams, by
/// [`Nats::subscribe`](crate::nats::Nats::subscribe). It ends after an error.
///
/// Dropping it unsubscribes. The connection closes once its client and all its subscriptions are dropped, or with
/// [`Client::close`], which ends them with [`Error::Closed`] (1000). A subscription that has lost its connection opens
/// one of its own, which closes when it is dropped.
#[derive(Debug)]
pub struct Subscription<U = Update> {
    /// Without capacity to spare: an update that is not taken keeps the next one waiting.
    updates: mpsc::Receiver<Result<U, Error>>,
}

impl<U> Subscription<U> {
    /// Returns the next update; none after an error.
    ///
    /// # Cancel safety
    /// No update is lost.
    ///
    /// # Errors
    /// Why the subscription ended, an error that is not temporary: [`Error::CommandUnsupported`] of a server that is
    /// too old, [`Error::Command`] of a topic or stream that is missing, denied, or deleted and created again,
    /// [`Error::Reconnect`] of a gateway that does not let the client in any more, [`Error::Closed`],
    /// [`Error::Protocol`].
    pub async fn next(&mut self) -> Option<Result<U, Error>> {
        self.updates.recv().await
    }
}

impl<U> Stream for Subscription<U> {
    type Item = Result<U, Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.updates.poll_recv(context)
    }
}

/// Starts the task behind a subscription.
pub(crate) fn open<R: Resume>(client: &Client, resume: R, window: u64) -> Subscription<R::Update> {
    let (sender, updates) = mpsc::channel(1);
    let feed = Feed::new(Arc::clone(&client.session), client.builder.clone(), resume, window, sender);
    tokio::spawn(feed.run());
    Subscription { updates }
}

impl Client {
    /// Reads topics, and delivers records as they are written: each partition's in order, none twice, and none lost but
    /// those that an [`Update::Skipped`] names.
    ///
    /// If the connection is lost, or the server cannot serve it for a while, the subscription continues where it was,
    /// with new attempts after 0 to 0.1 s, 0.2 s, and so on up to 20 s, at random, for as long as it takes. Each is
    /// announced with [`Update::Reconnecting`]. It does not notice records that were written before its first
    /// [`Update::Subscribed`] if it is to begin at log ends.
    ///
    /// A subscription that is not read delays nothing else of the connection: the server sends no more than
    /// [`Subscribe::window`] ahead.
    ///
    /// # Panics
    /// Outside of a tokio runtime with I/O and time enabled.
    pub fn subscribe(&self, subscribe: Subscribe) -> Subscription {
        let window = subscribe.window;
        open(self, Topics::new(subscribe.into_command()), window)
    }
}
