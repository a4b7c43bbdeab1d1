//! The answers of a subscription that have arrived and are not taken yet.

use std::sync::Arc;

use sluicegate_protocol::pub_sub_resp::Resp;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

/// An inbox with `room` bytes. Sending never waits, so that no subscription delays the other answers of its connection.
pub(crate) fn new(room: usize) -> (Sender, Inbox) {
    let (answers, received) = mpsc::unbounded_channel();
    let room = Arc::new(Semaphore::new(room.min(Semaphore::MAX_PERMITS)));
    (Sender { answers, room }, Inbox { answers: received })
}

#[derive(Debug)]
pub(crate) struct Sender {
    answers: mpsc::UnboundedSender<Held>,
    /// Bytes left; an answer takes its bytes and [`OVERHEAD`].
    room: Arc<Semaphore>,
}

/// An answer, with the room that it takes.
type Held = (Resp, OwnedSemaphorePermit);

impl Sender {
    /// Adds an answer of `len` bytes; false if it has no room, or if nobody takes it.
    pub(crate) fn send(&self, answer: Resp, len: usize) -> bool {
        let Ok(size) = u32::try_from(len.saturating_add(OVERHEAD)) else { return false };
        let Ok(place) = Arc::clone(&self.room).try_acquire_many_owned(size) else { return false };
        self.answers.send((answer, place)).is_ok()
    }
}

#[derive(Debug)]
pub(crate) struct Inbox {
    answers: mpsc::UnboundedReceiver<Held>,
}

impl Inbox {
    /// The next answer. `None` once the command or the connection has ended, or an answer found no room.
    ///
    /// # Cancel safety
    /// No answer is lost.
    pub(crate) async fn next(&mut self) -> Option<Resp> {
        self.answers.recv().await.map(|(answer, _)| answer)
    }
}

/// The memory of an answer besides its bytes.
const OVERHEAD: usize = 128;

#[cfg(test)]
mod tests {
    use sluicegate_protocol::PongResp;

    use super::*;

    #[tokio::test]
    async fn answers_have_room_until_they_are_taken() {
        let (sender, mut inbox) = new(300);
        let send = |len| sender.send(Resp::PongResp(PongResp::default()), len);
        assert!(send(100));
        assert!(!send(100), "228 + 228 > 300");
        inbox.next().await.unwrap();
        assert!(send(172) && !send(0));
        drop(sender);
        assert!(inbox.next().await.is_some() && inbox.next().await.is_none());
    }

    #[test]
    fn nothing_is_kept_for_nobody() {
        let (sender, inbox) = new(300);
        drop(inbox);
        assert!(!sender.send(Resp::PongResp(PongResp::default()), 0));
    }
}
