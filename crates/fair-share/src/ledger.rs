//! The parts of a limit that clients hold, and the room that each has left; [`Permits`] are the same for threads.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::holder::{Account, Holder};

/// A limit, and what is held of it.
///
/// Below half use, everyone gets what they ask for. Above it, a cluster can hold three times what is left to it, a site
/// three times what is left to its cluster, and a source three times what is left to its site. As the rest shrinks, the
/// largest holder is refused first, and a newcomer is refused only if its cluster or site holds its share. (A.
/// Choudhury and E. Hahne, "Dynamic queue length thresholds for shared-memory packet switches", 1998.)
///
/// Memory: at most three entries for each holder that holds something. Units are the caller's, such as bytes.
#[derive(Debug)]
pub struct Ledger {
    max: usize,
    /// The sum over all sources: above `max` only if that has shrunk, or by [`Ledger::add`].
    used: usize,
    /// The part of each account, never 0.
    held: BTreeMap<Account, usize>,
    has_clusters: bool,
}

impl Ledger {
    /// A limit of `max` that clients of several clusters share.
    pub fn new(max: usize) -> Self {
        Self { max, used: 0, held: BTreeMap::new(), has_clusters: true }
    }

    /// A limit of `max` whose clients are all counted as those of one cluster, which can use all of it.
    pub fn of_one_cluster(max: usize) -> Self {
        Self { has_clusters: false, ..Self::new(max) }
    }

    /// The limit.
    pub fn max(&self) -> usize {
        self.max
    }

    /// Changes the limit. Holders keep what they have above it.
    pub fn set_max(&mut self, max: usize) {
        self.max = max;
    }

    /// Changes whether clusters share the limit: one that is alone can use all of it.
    pub fn set_has_clusters(&mut self, has_clusters: bool) {
        self.has_clusters = has_clusters;
    }

    /// The part of the limit in use.
    pub fn used(&self) -> usize {
        self.used
    }

    /// Whether nobody holds anything.
    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// Whether `holder` can take `amount` now.
    pub fn has_room(&self, holder: Holder, amount: usize) -> bool {
        self.has_room_on(holder.accounts(), amount)
    }

    /// The same for the first of a holder's accounts: if they have no room, neither has any holder below them.
    pub(crate) fn has_room_on(&self, accounts: impl IntoIterator<Item = Account>, amount: usize) -> bool {
        self.has_room_for(accounts, 0, amount)
    }

    /// The same if `more` was held on these accounts.
    fn has_room_for(&self, accounts: impl IntoIterator<Item = Account>, more: usize, amount: usize) -> bool {
        let used = self.used.saturating_add(more);
        let Some(left) = self.max.saturating_sub(used).checked_sub(amount) else { return false };
        if left >= self.max.div_ceil(2) {
            return true;
        }
        let mut left = left.saturating_add(1);
        for account in accounts.into_iter().filter(|account| self.has_clusters || !account.is_cluster()) {
            let (share, held) = (left.saturating_mul(SHARE), self.of(account).saturating_add(more));
            if held >= share {
                return false;
            }
            // The most that it can take beyond what it holds: before the last one, held + n < SHARE × (left − n).
            left = share.saturating_sub(held).div_ceil(SHARE.saturating_add(1));
        }
        true
    }

    /// Counts `amount` to `holder`, if it has room.
    #[must_use]
    pub fn take(&mut self, holder: Holder, amount: usize) -> bool {
        let has_room = self.has_room(holder, amount);
        if has_room {
            self.add(holder, amount);
        }
        has_room
    }

    /// Counts as much as `holder` has room for, at most `amount`, and gives how much that is.
    pub fn take_up_to(&mut self, holder: Holder, amount: usize) -> usize {
        // Each one that it takes leaves less room for the next. There is room for the ones before `low`, and none for
        // `high`.
        let (mut low, mut high) = (0, amount.min(self.max));
        while low < high {
            let middle = low.midpoint(high);
            if self.has_room_for(holder.accounts(), middle, 1) {
                low = middle.saturating_add(1);
            } else {
                high = middle;
            }
        }
        self.add(holder, low);
        low
    }

    /// Counts `amount` to `holder`, even above the limit.
    pub fn add(&mut self, holder: Holder, amount: usize) {
        if amount == 0 {
            return;
        }
        self.used = self.used.saturating_add(amount);
        for account in holder.accounts() {
            let held = self.held.entry(account).or_default();
            *held = held.saturating_add(amount);
        }
    }

    /// Ends counting `amount` to `holder`. Callers give back what they have taken, and no more.
    pub fn give_back(&mut self, holder: Holder, amount: usize) {
        self.used = self.used.saturating_sub(amount);
        for account in holder.accounts() {
            let Some(held) = self.held.get_mut(&account) else { continue };
            *held = held.saturating_sub(amount);
            if *held == 0 {
                self.held.remove(&account);
            }
        }
    }

    /// Ends counting anything to anyone: a new period of a limit per time begins.
    pub fn clear(&mut self) {
        self.used = 0;
        self.held.clear();
    }

    /// The part that a holder's site has, or the holder if it has no site.
    pub fn held(&self, holder: Holder) -> usize {
        self.of(holder.site_account())
    }

    /// The holder's own part.
    pub fn held_by(&self, holder: Holder) -> usize {
        self.of(Account::Client(holder.cluster, holder.source))
    }

    /// The source that would hold most if `grows` held `more`, of the site that would. Another one wins a tie.
    pub fn largest(&self, grows: Holder, more: usize) -> Holder {
        let sites = self.held.iter().filter_map(|(account, held)| match *account {
            Account::Site(..) => Some((*account, *held)),
            Account::Client(cluster, source) => {
                (Holder { cluster, source }.site_account() == *account).then_some((*account, *held))
            }
            Account::Cluster(_) => None,
        });
        let of_grows = grows.site_account();
        let largest = sites.max_by_key(|(account, held)| grown(*held, *account == of_grows, more));
        largest.map_or(grows, |(account, _)| self.largest_of(account, grows, more))
    }

    fn largest_of(&self, site: Account, grows: Holder, more: usize) -> Holder {
        let sources = self.held.iter().filter_map(|(account, held)| match *account {
            Account::Client(cluster, source) => Some((Holder { cluster, source }, *held)),
            Account::Cluster(_) | Account::Site(..) => None,
        });
        let sources = sources.filter(|(holder, _)| holder.site_account() == site);
        let largest = sources.max_by_key(|(holder, held)| grown(*held, *holder == grows, more));
        largest.map_or(grows, |(holder, _)| holder)
    }

    fn of(&self, account: Account) -> usize {
        self.held.get(&account).copied().unwrap_or_default()
    }
}

/// The amount that an account would hold, for a comparison in which another one wins a tie.
fn grown(held: usize, grows: bool, more: usize) -> (usize, bool) {
    (if grows { held.saturating_add(more) } else { held }, !grows)
}

/// An account can hold at most this many times what is left to it: three quarters, if nobody else holds any.
const SHARE: usize = 3;

/// A [`Ledger`] that many threads use.
#[derive(Debug)]
pub struct Permits {
    ledger: Mutex<Ledger>,
}

/// A part of a limit. A drop gives it back.
#[derive(Debug)]
pub struct Permit {
    permits: Arc<Permits>,
    holder: Holder,
    amount: usize,
}

impl Permits {
    /// The permits of a ledger.
    pub fn new(ledger: Ledger) -> Arc<Self> {
        Arc::new(Self { ledger: Mutex::new(ledger) })
    }

    /// As many permits as `amount` for `holder`; `None` if it has no room.
    pub fn try_acquire(self: &Arc<Self>, holder: Holder, amount: usize) -> Option<Permit> {
        let is_taken = self.ledger().take(holder, amount);
        is_taken.then(|| Permit { permits: Arc::clone(self), holder, amount })
    }

    /// As many permits as `holder` has room for, at most `amount`; `None` without any.
    pub fn acquire_up_to(self: &Arc<Self>, holder: Holder, amount: usize) -> Option<Permit> {
        let amount = self.ledger().take_up_to(holder, amount);
        (amount > 0).then(|| Permit { permits: Arc::clone(self), holder, amount })
    }

    /// The limit.
    pub fn max(&self) -> usize {
        self.ledger().max()
    }

    /// Changes the limit. Permits in use above it stay valid.
    pub fn set_max(&self, max: usize) {
        self.ledger().set_max(max);
    }

    /// Changes whether clusters share the limit: one that is alone can use all of it.
    pub fn set_has_clusters(&self, has_clusters: bool) {
        self.ledger().set_has_clusters(has_clusters);
    }

    /// The permits in use.
    pub fn used(&self) -> usize {
        self.ledger().used()
    }

    /// Nothing that runs under the lock panics.
    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Permit {
    /// The number of permits.
    pub fn amount(&self) -> usize {
        self.amount
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.permits.ledger().give_back(self.holder, self.amount);
    }
}

#[cfg(test)]
pub(crate) mod tests;
