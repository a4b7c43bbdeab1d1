//! What became of the records of one command.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::failure::WriteError;

/// The fates of records, in their order: told one by one by the producer, awaited as a whole by their command.
#[derive(Debug)]
pub(crate) struct Fates {
    state: Mutex<State>,
    settled: Notify,
}

#[derive(Debug)]
struct State {
    /// `None`: not known yet.
    fates: Vec<Option<Fate>>,
    unknown: usize,
}

/// What became of a record.
pub(crate) type Fate = Result<Written, WriteError>;

/// Where a record is in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Written {
    pub(crate) partition: i32,
    /// -1 where Kafka did not tell.
    pub(crate) offset: i64,
    pub(crate) timestamp: i64,
}

impl Fates {
    /// Of as many records, nothing known of any.
    pub(super) fn new(records: usize) -> Arc<Self> {
        let state = Mutex::new(State { fates: vec![None; records], unknown: records });
        Arc::new(Self { state, settled: Notify::new() })
    }

    /// The fate of the record at `index` is known.
    pub(super) fn settle(&self, index: usize, fate: Fate) {
        // Every change under the lock is one that leaves it valid.
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(unknown @ None) = state.fates.get_mut(index) {
            *unknown = Some(fate);
            state.unknown = state.unknown.saturating_sub(1);
            if state.unknown == 0 {
                self.settled.notify_one();
            }
        }
    }

    /// Waits until all fates are known, or `due` is cancelled: then `late` is that of the others.
    ///
    /// # Cancel safety
    /// A drop changes nothing about the records.
    pub(crate) async fn wait(&self, due: &CancellationToken, late: WriteError) -> Vec<Fate> {
        while !self.is_settled() {
            tokio::select! {
                () = self.settled.notified() => {}
                () = due.cancelled() => break,
            }
        }
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let fates = std::mem::take(&mut state.fates);
        fates.into_iter().map(|fate| fate.unwrap_or_else(|| Err(late.clone()))).collect()
    }

    fn is_settled(&self) -> bool {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).unknown == 0
    }
}

#[cfg(test)]
mod tests {
    use super::super::failure;
    use super::*;

    fn error(message: &str) -> WriteError {
        failure::refused(0, message.to_owned())
    }

    #[tokio::test]
    async fn fates_come_in_the_order_of_their_records() {
        let fates = Fates::new(2);
        let written = Written { partition: 1, offset: 2, timestamp: 3 };
        fates.settle(1, Ok(written));
        fates.settle(0, Err(error("refused")));
        // What is told twice, or of no record, changes nothing.
        fates.settle(0, Ok(written));
        fates.settle(9, Ok(written));
        let told = fates.wait(&CancellationToken::new(), error("late")).await;
        assert_eq!(told, [Err(error("refused")), Ok(written)]);
    }

    #[tokio::test]
    async fn what_is_not_known_in_time_is_late() {
        let fates = Fates::new(2);
        let due = CancellationToken::new();
        due.cancel();
        let written = Written { partition: 0, offset: 0, timestamp: 0 };
        fates.settle(0, Ok(written));
        assert_eq!(fates.wait(&due, error("late")).await, [Ok(written), Err(error("late"))]);
        assert!(Fates::new(0).wait(&CancellationToken::new(), error("")).await.is_empty());
    }
}
