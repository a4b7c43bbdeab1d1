//! The commands in flight and the subscriptions, by sequence.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use sluicegate_protocol::pub_sub_resp::Resp;
use tokio::sync::oneshot;

use crate::Error;
use crate::inbox::{self, Inbox};

/// Shared by the callers, which register and wait, and the connection, which completes and ends.
///
/// Holds at most [`max_in_flight`](crate::Builder::max_in_flight) entries, and one for each subscription.
#[derive(Debug)]
pub(crate) struct Pending {
    state: Mutex<State>,
    /// Why the last renewal of the identity failed.
    not_renewed: Mutex<Option<Error>>,
}

#[derive(Debug)]
enum State {
    Open(HashMap<i64, Waiting>),
    Ended(Error),
}

#[derive(Debug)]
enum Waiting {
    ForOne(oneshot::Sender<Resp>),
    ForMany(inbox::Sender),
}

impl Pending {
    pub(crate) fn new() -> Self {
        Self { state: Mutex::new(State::Open(HashMap::new())), not_renewed: Mutex::new(None) }
    }

    /// Expects an answer to `sequence` until the returned value is dropped.
    pub(crate) fn register(&self, sequence: i64) -> Result<Answer<'_>, Error> {
        let (sender, receiver) = oneshot::channel();
        self.insert(sequence, Waiting::ForOne(sender))?;
        Ok(Answer { pending: self, sequence, receiver })
    }

    /// Expects answers to `sequence` until one has no room, or is an error, the last.
    pub(crate) fn register_many(&self, sequence: i64, room: usize) -> Result<Inbox, Error> {
        let (sender, inbox) = inbox::new(room);
        self.insert(sequence, Waiting::ForMany(sender))?;
        Ok(inbox)
    }

    fn insert(&self, sequence: i64, waiting: Waiting) -> Result<(), Error> {
        match &mut *self.lock() {
            State::Open(all) => all.insert(sequence, waiting),
            State::Ended(why) => return Err(why.clone()),
        };
        Ok(())
    }

    /// Hands `answer`, of `len` bytes, to the caller that waits for `sequence`, if it still does.
    pub(crate) fn complete(&self, sequence: i64, answer: Resp, len: usize) {
        let State::Open(all) = &mut *self.lock() else { return };
        match all.remove(&sequence) {
            Some(Waiting::ForOne(sender)) => {
                // The receiver is gone if the caller stopped waiting a moment ago.
                let _ = sender.send(answer);
            }
            Some(Waiting::ForMany(sender)) => {
                let is_last = matches!(answer, Resp::ErrorResp(_));
                if sender.send(answer, len) && !is_last {
                    all.insert(sequence, Waiting::ForMany(sender));
                }
            }
            None => {}
        }
    }

    /// Expects no answer to `sequence` any more.
    pub(crate) fn forget(&self, sequence: i64) {
        if let State::Open(waiting) = &mut *self.lock() {
            waiting.remove(&sequence);
        }
    }

    /// Whether answers to `sequence` are expected.
    pub(crate) fn expects(&self, sequence: i64) -> bool {
        matches!(&*self.lock(), State::Open(all) if all.contains_key(&sequence))
    }

    /// Fails all waiting and later commands with `why`. The first reason counts.
    pub(crate) fn end(&self, why: Error) {
        let state = &mut *self.lock();
        if matches!(state, State::Open(_)) {
            *state = State::Ended(why);
        }
    }

    /// Notes why a renewal of the identity failed; `None` if it did not.
    pub(crate) fn note_renewal(&self, failure: Option<Error>) {
        *self.not_renewed.lock().unwrap_or_else(PoisonError::into_inner) = failure;
    }

    /// Why the last renewal of the identity failed, if it did.
    pub(crate) fn not_renewed(&self) -> Option<Error> {
        self.not_renewed.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Why the session has ended.
    pub(crate) fn ended(&self) -> Error {
        self.end_so_far().unwrap_or_else(|| Error::Lost { detail: "the connection's task is gone".into() })
    }

    /// Why the session has ended, if it has.
    pub(crate) fn end_so_far(&self) -> Option<Error> {
        match &*self.lock() {
            State::Ended(why) => Some(why.clone()),
            State::Open(_) => None,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Every change under the lock is a single call, so that a panic cannot leave it incomplete.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One registered command; dropping it frees its place.
#[derive(Debug)]
pub(crate) struct Answer<'a> {
    pending: &'a Pending,
    sequence: i64,
    receiver: oneshot::Receiver<Resp>,
}

impl Answer<'_> {
    pub(crate) async fn wait(mut self) -> Result<Resp, Error> {
        (&mut self.receiver).await.map_err(|_| self.pending.ended())
    }
}

impl Drop for Answer<'_> {
    fn drop(&mut self) {
        self.pending.forget(self.sequence);
    }
}
