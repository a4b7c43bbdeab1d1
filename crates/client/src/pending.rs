//! The commands that wait for their answers, by sequence.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use sluicegate_protocol::pub_sub_resp::Resp;
use tokio::sync::oneshot;

use crate::Error;

/// Shared by the callers, who register and wait, and by the connection, which completes and ends.
///
/// Holds at most as many entries as commands may be in flight.
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

    /// Makes `sequence` one whose answer is waited for, until the returned value is dropped.
    pub(crate) fn register(&self, sequence: i64) -> Result<Answer<'_>, Error> {
        let (sender, receiver) = oneshot::channel();
        match &mut *self.lock() {
            State::Open(waiting) => waiting.insert(sequence, sender),
            State::Ended(why) => return Err(why.clone()),
        };
        Ok(Answer { pending: self, sequence, receiver })
    }

    /// Hands `answer` to whoever waits for `sequence`; nobody does after a timeout.
    pub(crate) fn complete(&self, sequence: i64, answer: Resp) {
        let waiting = match &mut *self.lock() {
            State::Open(waiting) => waiting.remove(&sequence),
            State::Ended(_) => None,
        };
        if let Some(sender) = waiting {
            // A caller that stopped waiting a moment ago has dropped its receiver.
            let _ = sender.send(answer);
        }
    }

    /// Fails every command that waits, and each later one, with `why`. The first reason stands.
    pub(crate) fn end(&self, why: Error) {
        let state = &mut *self.lock();
        if matches!(state, State::Open(_)) {
            *state = State::Ended(why);
        }
    }

    /// Why the session is over.
    pub(crate) fn ended(&self) -> Error {
        match &*self.lock() {
            State::Ended(why) => why.clone(),
            State::Open(_) => Error::Lost { detail: "the connection's task is gone".into() },
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Every change under the lock is a single call: there is no half-made state that a panic could leave.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One registered command; dropping it gives its place free.
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
