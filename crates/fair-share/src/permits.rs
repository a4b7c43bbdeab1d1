//! Parts of a limit that are given back on drop.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::holder::Holder;
use crate::ledger::Ledger;

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
