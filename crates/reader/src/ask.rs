//! Asks the leader of a partition, wherever it moves meanwhile.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout_at};

use crate::backoff::Backoff;
use crate::broker::Broker;
use crate::cluster::Cluster;
use crate::error::ErrorCode;
use crate::target::Target;
use crate::view::refusal;
use crate::{ConnectionError, ReadError};

/// Puts a question to the leader of `target`, again where the leader has changed or was lost, until `deadline`.
///
/// `put` sends it, given the leader's epoch; `error` finds the broker's error in its answer.
pub(crate) async fn ask_leader<T, F>(
    cluster: &Cluster,
    target: Target<'_>,
    deadline: Instant,
    put: impl Fn(Arc<Broker>, i32) -> F,
    error: impl Fn(&T) -> Option<ErrorCode>,
) -> Result<T, ReadError>
where
    F: Future<Output = Result<T, ConnectionError>>,
{
    let mut pauses = Backoff::new(FIRST_PAUSE, MAX_PAUSE);
    let mut after = None;
    let mut left = ATTEMPTS;
    loop {
        let (failure, again) = match cluster.leader(target, after, deadline).await {
            Ok((leader, broker)) => {
                let asked = Instant::now();
                let answer = timeout_at(deadline, put(Arc::clone(&broker), leader.epoch)).await;
                // Only what is learned later than this leader can lead to another one.
                after = Some(leader.learned);
                let broker = broker.address().to_string();
                let silent =
                    |_| Err(ConnectionError::Silent { address: broker.clone(), after: asked.elapsed() });
                match answer.unwrap_or_else(silent) {
                    Ok(answer) => match error(&answer) {
                        None => return Ok(answer),
                        // A leader that does not know the partition may only be ahead of the metadata, or behind.
                        Some(code) => (refusal(code, target), code.0.is_retriable()),
                    },
                    Err(cause) => {
                        let again = cause.retriable();
                        (ReadError::Unanswered { broker, cause }, again)
                    }
                }
            }
            // Every broker has been tried.
            Err(failure) if failure.is_unavailable() => return Err(failure),
            Err(failure) => {
                after = Some(Instant::now());
                let again = failure.retriable();
                (failure, again)
            }
        };
        left = left.saturating_sub(1);
        let pause = pauses.next();
        let in_time = Instant::now().checked_add(pause).is_some_and(|next| next < deadline);
        if left == 0 || !in_time || !again {
            return Err(failure);
        }
        tracing::debug!(%target, %failure, "asking again");
        sleep(pause).await;
    }
}

/// Questions per call, the first one included.
const ATTEMPTS: u32 = 4;

const FIRST_PAUSE: Duration = Duration::from_millis(50);

const MAX_PAUSE: Duration = Duration::from_millis(400);
