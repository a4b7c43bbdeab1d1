//! Messages that are published one after the other, and what is answered to each.

use std::collections::HashMap;
use std::sync::Arc;

use async_nats::message::OutboundMessage;
use async_nats::{HeaderMap, Subject};
use bytes::Bytes;
use tokio::sync::mpsc;

use super::{Answer, Session, Waiting};
use crate::error::ReadError;

/// Publishes the messages of one command.
pub(crate) struct Publisher {
    answers: mpsc::UnboundedSender<(usize, Answer)>,
    acknowledgements: Acknowledgements,
}

/// The answers to published messages. Dropping it ends the wait for them.
pub(crate) struct Acknowledgements {
    session: Arc<Session>,
    /// The number of each message that was published, by index.
    numbers: HashMap<usize, u64>,
    answers: mpsc::UnboundedReceiver<(usize, Answer)>,
}

impl Session {
    /// For the messages of one command.
    pub(crate) fn publisher(self: &Arc<Self>) -> Publisher {
        let (sender, answers) = mpsc::unbounded_channel();
        let (session, numbers) = (Arc::clone(self), HashMap::new());
        let acknowledgements = Acknowledgements { session, numbers, answers };
        Publisher { answers: sender, acknowledgements }
    }
}

impl Publisher {
    /// Publishes the message with this index.
    ///
    /// # Errors
    /// The message was not sent, and never will be.
    ///
    /// # Cancel safety
    /// The message is sent or not.
    pub(crate) async fn send(
        &mut self,
        index: usize,
        subject: Subject,
        headers: HeaderMap,
        payload: Bytes,
    ) -> Result<(), ReadError> {
        let Acknowledgements { session, numbers, .. } = &mut self.acknowledgements;
        let link = &session.link;
        let place = Arc::clone(&session.places).acquire_owned();
        let place = link.lost.run_until_cancelled(place).await.and_then(Result::ok).ok_or(ReadError::Lost)?;
        let number = session.unguessable()?;
        let (subject_of, answers) = (subject.clone(), self.answers.clone());
        let waiting = Waiting { index, subject: subject_of, answers, _places: place };
        numbers.insert(index, number);
        link.waiting.lock().insert(number, waiting);
        let reply = Some(format!("{}{number}", session.inbox).into());
        let message = OutboundMessage { subject, reply, payload, headers: Some(headers) };
        let publish = session.wire.publish(message);
        match link.lost.run_until_cancelled(publish).await {
            Some(Ok(())) => {
                // If the connection was lost before this entry existed, nothing else removes it.
                if session.is_lost() {
                    link.waiting.lock().remove(&number);
                }
                Ok(())
            }
            None | Some(Err(_)) => {
                link.waiting.lock().remove(&number);
                Err(ReadError::Lost)
            }
        }
    }

    /// Ends publishing.
    pub(crate) fn into_acknowledgements(self) -> Acknowledgements {
        self.acknowledgements
    }
}

impl Acknowledgements {
    /// An answer, and the index of its message; `None` if no more will come, because the connection is lost.
    ///
    /// # Cancel safety
    /// No answer is lost.
    pub(crate) async fn next(&mut self) -> Option<(usize, Answer)> {
        self.answers.recv().await
    }

    /// Expects no more answers to the message with this index.
    pub(crate) fn done(&self, index: usize) {
        if let Some(number) = self.numbers.get(&index) {
            self.session.link.waiting.lock().remove(number);
        }
    }
}

impl Drop for Acknowledgements {
    fn drop(&mut self) {
        let mut waiting = self.session.link.waiting.lock();
        for number in self.numbers.values() {
            waiting.remove(number);
        }
    }
}
