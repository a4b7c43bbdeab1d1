//! The delivery reports of one command's records.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::Written;

/// Reports in the order of their records. The writer adds them one by one, and the command waits for all.
#[derive(Debug)]
pub struct DeliveryReports<E> {
    state: Mutex<State<E>>,
    settled: Notify,
}

#[derive(Debug)]
struct State<E> {
    /// None: missing.
    reports: Vec<Option<Report<E>>>,
    missing: usize,
}

/// The result of writing one record.
type Report<E> = Result<Written, E>;

impl<E: Clone> DeliveryReports<E> {
    /// Expects one report for each of `records`.
    pub fn new(records: usize) -> Arc<Self> {
        let state = Mutex::new(State { reports: vec![None; records], missing: records });
        Arc::new(Self { state, settled: Notify::new() })
    }

    /// Adds the report of the record at `index`. The first one stands.
    pub fn settle(&self, index: usize, report: Report<E>) {
        // No code under the lock can panic and leave it inconsistent.
        let mut state = self.state.lock();
        if let Some(missing @ None) = state.reports.get_mut(index) {
            *missing = Some(report);
            state.missing = state.missing.saturating_sub(1);
            if state.missing == 0 {
                self.settled.notify_one();
            }
        }
    }

    /// Waits for all reports, or until `due` is cancelled: `late` then gives the error of each record without one.
    ///
    /// # Cancel safety
    /// A drop does not affect the records.
    pub async fn wait(&self, due: &CancellationToken, late: impl Fn(usize) -> E) -> Vec<Report<E>> {
        while !self.is_settled() {
            tokio::select! {
                () = self.settled.notified() => {}
                () = due.cancelled() => break,
            }
        }
        let mut state = self.state.lock();
        let reports = std::mem::take(&mut state.reports);
        let indexed = reports.into_iter().enumerate();
        indexed.map(|(index, report)| report.unwrap_or_else(|| Err(late(index)))).collect()
    }

    fn is_settled(&self) -> bool {
        self.state.lock().missing == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn reports_keep_the_order_of_records() {
        let reports = DeliveryReports::new(2);
        let written = Written { partition: 1, offset: 2, timestamp: 3, ..Written::default() };
        reports.settle(1, Ok(written));
        reports.settle(0, Err("refused"));
        // A second report, or one for no record, changes nothing.
        reports.settle(0, Ok(written));
        reports.settle(9, Ok(written));
        let all = reports.wait(&CancellationToken::new(), |_| "late").await;
        assert_eq!(all, [Err("refused"), Ok(written)]);
    }

    #[tokio::test]
    async fn missing_reports_are_late_when_due() {
        let reports = DeliveryReports::new(2);
        let due = CancellationToken::new();
        due.cancel();
        let written = Written::default();
        reports.settle(0, Ok(written));
        let all = reports.wait(&due, |index| ["first", "second"][index]).await;
        assert_eq!(all, [Ok(written), Err("second")]);
        assert!(DeliveryReports::new(0).wait(&CancellationToken::new(), |_| "").await.is_empty());
    }
}
