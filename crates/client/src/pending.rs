//! The commands in flight, by sequence.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use sluicegate_protocol::pub_sub_resp::Resp;
use tokio::sync::oneshot;

use crate::Error;

/// Shared by the callers, which register and wait, and the connection, which completes and ends.
///
/// Holds at most [`max_in_flight`](crate::Builder::max_in_flight) entries.
#[derive(Debug)]
pub(crate) struct Pending {
    state: Mutex<State>,
}

#[derive(Debug)]
enum State {
    Open(HashMap<i64, oneshot::Sender<Resp>>),
    Ended(Error),
}

impl Pending {
    pub(crate) fn new() -> Self {
        Self { state: Mutex::new(State::Open(HashMap::new())) }
    }

    /// Expects an answer to `sequence` until the returned value is dropped.
    pub(crate) fn register(&self, sequence: i64) -> Result<Answer<'_>, Error> {
        let (sender, receiver) = oneshot::channel();
        match &mut *self.lock() {
            State::Open(waiting) => waiting.insert(sequence, sender),
            State::Ended(why) => return Err(why.clone()),
        };
        Ok(Answer { pending: self, sequence, receiver })
    }

    /// Hands `answer` to the caller of `sequence`, unless that has timed out.
    pub(crate) fn complete(&self, sequence: i64, answer: Resp) {
        let waiting = match &mut *self.lock() {
            State::Open(waiting) => waiting.remove(&sequence),
            State::Ended(_) => None,
        };
        if let Some(sender) = waiting {
            // The receiver is gone if the caller stopped waiting a moment ago.
            let _ = sender.send(answer);
        }
    }

    /// Fails all waiting and later commands with `why`. The first reason counts.
    pub(crate) fn end(&self, why: Error) {
        let state = &mut *self.lock();
        if matches!(state, State::Open(_)) {
            *state = State::Ended(why);
        }
    }

    /// Why the session has ended.
    pub(crate) fn ended(&self) -> Error {
        match &*self.lock() {
            State::Ended(why) => why.clone(),
            State::Open(_) => Error::Lost { detail: "the connection's task is gone".into() },
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
        if let State::Open(waiting) = &mut *self.pending.lock() {
            waiting.remove(&self.sequence);
        }
    }
}
