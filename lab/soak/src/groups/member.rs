//! A client with one member of a group: reads, commits, leaves and comes back.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use sluicegate_stack::random::Random;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use super::ledger::{Answer, Ledger, Log};

/// A way to be a member.
pub(super) trait Consume: Send + 'static {
    /// Becomes a member that reads its topics. One of its name is taken as it is.
    fn join(&mut self) -> impl Future<Output = Result<(), Trouble>> + Send;
    /// The next records, each with its log; none if there are none within a second.
    fn poll(&mut self) -> impl Future<Output = Result<Vec<(Log, i64)>, Trouble>> + Send;
    fn commit(&mut self, commits: &BTreeMap<Log, i64>) -> impl Future<Output = Result<(), Trouble>> + Send;
    fn leave(&mut self) -> impl Future<Output = Result<(), Trouble>> + Send;
    /// When it got its share, if its records begin there: those on their way are not those of the group's newest commits,
    /// and a commit can be of the share before. None: they begin with each poll.
    fn since(&self) -> Option<Instant> {
        None
    }
}

/// Why a request has failed.
#[derive(Debug)]
pub(super) enum Trouble {
    /// The group does not know the member.
    Gone,
    /// The member is there without its subscription.
    Unsubscribed,
    /// Something is away, or the group rebalances.
    Passing(String),
    /// It should not fail in this way.
    Wrong(String),
}

/// What a client does.
pub(super) struct Life {
    pub(super) group: usize,
    pub(super) number: usize,
    /// Whether it commits by itself.
    pub(super) commits: bool,
    /// Polls after which it leaves, on average.
    pub(super) patience: usize,
    pub(super) stopped: watch::Receiver<bool>,
    pub(super) random: Random,
}

pub(super) async fn run(mut consumer: impl Consume, mut life: Life, ledger: Arc<Ledger>) {
    let (mut is_member, mut made) = (false, None);
    while !*life.stopped.borrow() {
        let done = match is_member {
            false => consumer.join().await.map(|()| is_member = true),
            true => turn(&mut consumer, &life, &ledger, &mut made).await,
        };
        match done {
            Ok(()) if is_member && life.random.below(life.patience) == 0 => {
                // Every second one is silent for a while, and comes back as what it was.
                if life.random.below(2) == 0 {
                    leave(&mut consumer, &life, &ledger).await;
                    is_member = false;
                }
                sleep(AWAY).await;
            }
            Ok(()) => sleep(PAUSE).await,
            Err(Trouble::Gone) => {
                ledger.lost_member(life.group, life.number);
                is_member = false;
            }
            Err(Trouble::Unsubscribed) => is_member = false,
            Err(Trouble::Passing(what)) => {
                ledger.answered(what);
                sleep(PAUSE).await;
            }
            Err(Trouble::Wrong(what)) => {
                ledger.wrong(format!("member {} of group {}: {what}", life.number, life.group));
                sleep(PAUSE).await;
            }
        }
    }
    leave(&mut consumer, &life, &ledger).await;
}

/// A commit, and the share of the member then.
type Made = (BTreeMap<Log, i64>, Option<Instant>);

async fn turn(
    consumer: &mut impl Consume,
    life: &Life,
    ledger: &Ledger,
    made: &mut Option<Made>,
) -> Result<(), Trouble> {
    let (began, made_before) = (Instant::now(), made.take());
    let records = consumer.poll().await?;
    let Life { group, number: member, commits, .. } = *life;
    if let Some((ends, since)) = made_before
        && since == consumer.since()
    {
        ledger.committed(group, &ends);
    }
    let began = consumer.since().unwrap_or(began);
    ledger.received(Answer { group, member, began, is_auto: !commits, records: &records });
    if commits && !records.is_empty() {
        let mut ends = BTreeMap::new();
        for (log, offset) in records {
            let end: &mut i64 = ends.entry(log).or_default();
            *end = (*end).max(offset.saturating_add(1));
        }
        consumer.commit(&ends).await?;
        match consumer.since() {
            None => ledger.committed(group, &ends),
            since => *made = Some((ends, since)),
        }
    }
    Ok(())
}

async fn leave(consumer: &mut impl Consume, life: &Life, ledger: &Ledger) {
    // A member that cannot be ended is taken as it is by the next join.
    if let Err(Trouble::Wrong(what)) = consumer.leave().await {
        ledger.wrong(format!("member {} of group {}: {what}", life.number, life.group));
    }
}

/// Between two polls, as clients that do something with records.
const PAUSE: Duration = Duration::from_millis(250);
const AWAY: Duration = Duration::from_secs(2);
