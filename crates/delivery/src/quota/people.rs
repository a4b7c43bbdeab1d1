//! The people of a bridge whose usage is known.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use sluicegate_rights::Quota;
use sluicegate_telemetry::metrics::QuotaMetrics;
use tokio::time::Instant;

use super::Usage;

/// The usages of all people, as long as they differ from those of a newcomer.
///
/// Memory: one entry for each person who is here, or was in the last seconds. Beyond 10,000 of those who left,
/// the ones who left first are forgotten, and begin anew if they come back. Nobody else notices.
#[derive(Debug, Default)]
pub struct People(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    usages: BTreeMap<Account, Known>,
    /// Entries are looked through beyond it, or after [`SWEEP`].
    sweep_at: usize,
    swept: Option<Instant>,
}

#[derive(Debug)]
struct Known {
    usage: Arc<Usage>,
    /// When the person was here last, as of a sweep.
    seen: Instant,
}

/// The usage that quotas count: of one person, on one route.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Account {
    /// A hash of the cluster that the route uses, which is the same when the cluster was closed and is used again.
    pub cluster: u64,
    /// The gateway's name of the route.
    pub route: Option<String>,
    /// The route's quota. A new one counts anew.
    pub quota: Quota,
    /// `iss`: who issued the identity.
    pub issuer: Option<String>,
    /// `sub`: the person. All whom an issuer gives no `sub` are one.
    pub subject: Option<String>,
}

impl People {
    /// The usage of a person, which all of the person's sessions and requests share.
    pub fn usage(&self, account: Account, metrics: &Arc<QuotaMetrics>) -> Arc<Usage> {
        let (now, mut state) = (Instant::now(), self.0.lock());
        let is_due = state.swept.is_none_or(|swept| now.saturating_duration_since(swept) >= SWEEP);
        if is_due || state.usages.len() >= state.sweep_at {
            state.sweep(now);
        }
        let quota = account.quota;
        let new = || Known { usage: Arc::new(Usage::new(quota, Arc::clone(metrics))), seen: now };
        let known = state.usages.entry(account).or_insert_with(new);
        known.seen = now;
        Arc::clone(&known.usage)
    }
}

impl State {
    /// Forgets people whose use makes no difference any more, and the first of too many who left.
    fn sweep(&mut self, now: Instant) {
        let is_here = |known: &Known| Arc::strong_count(&known.usage) > 1;
        self.usages.values_mut().filter(|known| is_here(known)).for_each(|known| known.seen = now);
        self.usages.retain(|_, known| is_here(known) || !known.usage.is_whole(now));
        let mut absent: Vec<Instant> =
            self.usages.values().filter(|known| !is_here(known)).map(|known| known.seen).collect();
        if let Some(excess) = absent.len().checked_sub(MAX_ABSENT).filter(|excess| *excess > 0) {
            let (_, last, _) = absent.select_nth_unstable(excess.saturating_sub(1));
            let last = *last;
            let mut excess = excess;
            self.usages.retain(|_, known| {
                let goes = excess > 0 && known.seen <= last && !is_here(known);
                excess = excess.saturating_sub(usize::from(goes));
                !goes
            });
        }
        self.sweep_at = self.usages.len().saturating_add(MAX_ABSENT);
        self.swept = Some(now);
    }
}

/// People who left and are remembered, about 1 KiB each. Twice as many can be remembered until the next look.
const MAX_ABSENT: usize = 10_000;

/// The time after which entries are looked through again.
const SWEEP: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    fn account(subject: &str) -> Account {
        let [issuer, subject] = ["i", subject].map(|name| Some(name.to_owned()));
        Account { cluster: 0, route: None, quota: Quota::default(), issuer, subject }
    }

    fn known(people: &People) -> usize {
        people.0.lock().usages.len()
    }

    #[tokio::test(start_paused = true)]
    async fn usage_is_remembered_until_it_makes_no_difference() {
        let (people, metrics) = (People::default(), Arc::default());
        let first = people.usage(account("alice"), &metrics);
        assert!(Arc::ptr_eq(&first, &people.usage(account("alice"), &metrics)));
        assert!(!Arc::ptr_eq(&first, &people.usage(account("bob"), &metrics)));
        first.delivered(100 << 20);
        drop(first);
        advance(SWEEP).await;
        // All is paid now, and whole again after some seconds.
        assert!(people.usage(account("alice"), &metrics).read().is_ok());
        assert_eq!(known(&people), 1, "the other one is forgotten");
        advance(SWEEP).await;
        people.usage(account("carol"), &metrics);
        assert_eq!(known(&people), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn person_who_left_first_is_forgotten_first() {
        let (people, metrics) = (People::default(), Arc::default());
        let stays = people.usage(account("stays"), &metrics);
        let visit = |name: &str| people.usage(account(name), &metrics).delivered(1 << 30);
        (0..3 * MAX_ABSENT).for_each(|number| visit(&number.to_string()));
        assert!(known(&people) <= 2 * MAX_ABSENT + 2, "{}", known(&people));
        advance(Duration::from_secs(1)).await;
        visit("last");
        assert!(people.usage(account("last"), &metrics).read().is_err(), "still owes");
        assert!(people.usage(account("0"), &metrics).read().is_ok(), "begins anew");
        assert!(Arc::ptr_eq(&stays, &people.usage(account("stays"), &metrics)));
    }
}
