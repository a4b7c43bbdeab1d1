//! Messages that are published one after the other, and what is answered to each.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use async_nats::{HeaderMap, Subject};
use bytes::Bytes;
use tokio::sync::mpsc;

use super::{Answer, Session, Waiting};
use crate::nats::error::ReadError;

/// Publishes the messages of one command.
pub(in crate::nats) struct Publisher {
    answers: mpsc::UnboundedSender<(u64, Answer)>,
    acknowledgements: Acknowledgements,
}

/// The answers to published messages. Dropping it ends the wait for them.
pub(in crate::nats) struct Acknowledgements {
    session: Arc<Session>,
    /// The number of the message with index 0. The others follow.
    first: u64,
    count: u64,
    answers: mpsc::UnboundedReceiver<(u64, Answer)>,
}

impl Session {
    /// For at most `count` messages.
    pub(in crate::nats) fn publisher(self: &Arc<Self>, count: usize) -> Publisher {
        let count = u64::try_from(count).unwrap_or(u64::MAX);
        let first = self.link.last.fetch_add(count, Ordering::Relaxed);
        let (sender, answers) = mpsc::unbounded_channel();
        let acknowledgements = Acknowledgements { session: Arc::clone(self), first, count, answers };
        Publisher { answers: sender, acknowledgements }
    }
}

impl Publisher {
    /// Publishes the message with this index, which is below the publisher's count.
    ///
    /// # Errors
    /// The message was not sent, and never will be.
    ///
    /// # Cancel safety
    /// The message is sent or not.
    pub(in crate::nats) async fn send(
        &self,
        index: usize,
        subject: Subject,
        headers: HeaderMap,
        payload: Bytes,
    ) -> Result<(), ReadError> {
        let Acknowledgements { session, first, .. } = &self.acknowledgements;
        let link = &session.link;
        let place = Arc::clone(&session.places).acquire_owned();
        let place = link.lost.run_until_cancelled(place).await.and_then(Result::ok).ok_or(ReadError::Lost)?;
        let number = first.saturating_add(u64::try_from(index).unwrap_or(u64::MAX));
        let waiting = Waiting { subject: subject.clone(), answers: self.answers.clone(), _places: place };
        link.lock().insert(number, waiting);
        let reply = format!("{}{number}", session.inbox);
        let publish = session.client.publish_with_reply_and_headers(subject, reply, headers, payload);
        match link.lost.run_until_cancelled(publish).await {
            Some(Ok(())) => {
                // If the connection was lost before this entry existed, nothing else removes it.
                if session.is_lost() {
                    link.lock().remove(&number);
                }
                Ok(())
            }
            None | Some(Err(_)) => {
                link.lock().remove(&number);
                Err(ReadError::Lost)
            }
        }
    }

    /// Ends publishing.
    pub(in crate::nats) fn into_acknowledgements(self) -> Acknowledgements {
        self.acknowledgements
    }
}

impl Acknowledgements {
    /// An answer, and the index of its message; `None` if no more will come, because the connection is lost.
    ///
    /// # Cancel safety
    /// No answer is lost.
    pub(in crate::nats) async fn next(&mut self) -> Option<(usize, Answer)> {
        let (number, answer) = self.answers.recv().await?;
        let index = usize::try_from(number.saturating_sub(self.first)).unwrap_or(usize::MAX);
        Some((index, answer))
    }

    /// Expects no more answers to the message with this index.
    pub(in crate::nats) fn done(&self, index: usize) {
        let number = self.first.saturating_add(u64::try_from(index).unwrap_or(u64::MAX));
        self.session.link.lock().remove(&number);
    }
}

impl Drop for Acknowledgements {
    fn drop(&mut self) {
        let mut waiting = self.session.link.lock();
        for number in self.first..self.first.saturating_add(self.count) {
            waiting.remove(&number);
        }
    }
}
