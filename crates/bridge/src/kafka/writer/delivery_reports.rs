//! The delivery reports of one command's records.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::error::WriteError;
use crate::backend::Written;

/// Reports in the order of their records. The producer adds them one by one, and the command waits for all.
#[derive(Debug)]
pub(super) struct DeliveryReports {
    state: Mutex<State>,
    settled: Notify,
}

#[derive(Debug)]
struct State {
    /// None: missing.
    reports: Vec<Option<Report>>,
    missing: usize,
}

/// The result of writing one record.
pub(super) type Report = Result<Written, WriteError>;

impl DeliveryReports {
    /// Expects one report for each of `records`.
    pub(super) fn new(records: usize) -> Arc<Self> {
        let state = Mutex::new(State { reports: vec![None; records], missing: records });
        Arc::new(Self { state, settled: Notify::new() })
    }

    /// Adds the report of the record at `index`. The first one stands.
    pub(super) fn settle(&self, index: usize, report: Report) {
        // No code under the lock can panic and leave it inconsistent.
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(missing @ None) = state.reports.get_mut(index) {
            *missing = Some(report);
            state.missing = state.missing.saturating_sub(1);
            if state.missing == 0 {
                self.settled.notify_one();
            }
        }
    }

    /// Waits for all reports, or until `due` is cancelled: `late` then replaces missing ones.
    ///
    /// # Cancel safety
    /// A drop does not affect the records.
    pub(super) async fn wait(&self, due: &CancellationToken, late: WriteError) -> Vec<Report> {
        while !self.is_settled() {
            tokio::select! {
                () = self.settled.notified() => {}
                () = due.cancelled() => break,
            }
        }
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let reports = std::mem::take(&mut state.reports);
        reports.into_iter().map(|report| report.unwrap_or_else(|| Err(late.clone()))).collect()
    }

    fn is_settled(&self) -> bool {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).missing == 0
    }
}

#[cfg(test)]
mod tests {
    use super::super::error;
    use super::*;

    fn error(message: &str) -> WriteError {
        WriteError::Failed(error::refused(0, message.to_owned()))
    }

    #[tokio::test]
    async fn reports_keep_the_order_of_records() {
        let reports = DeliveryReports::new(2);
        let written = Written { partition: 1, offset: 2, timestamp: 3 };
        reports.settle(1, Ok(written));
        reports.settle(0, Err(error("refused")));
        // A second report, or one for no record, changes nothing.
        reports.settle(0, Ok(written));
        reports.settle(9, Ok(written));
        let all = reports.wait(&CancellationToken::new(), error("late")).await;
        assert_eq!(all, [Err(error("refused")), Ok(written)]);
    }

    #[tokio::test]
    async fn missing_reports_are_late_when_due() {
        let reports = DeliveryReports::new(2);
        let due = CancellationToken::new();
        due.cancel();
        let written = Written { partition: 0, offset: 0, timestamp: 0 };
        reports.settle(0, Ok(written));
        assert_eq!(reports.wait(&due, error("late")).await, [Ok(written), Err(error("late"))]);
        assert!(DeliveryReports::new(0).wait(&CancellationToken::new(), error("")).await.is_empty());
    }
}
