//! A queue in which clients take turns.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::holder::{Account, Holder};

/// A queue in which clusters take turns, the sites and sources of a cluster take turns, and each source's own entries
/// keep their order.
///
/// A turn costs what its entry costs: a source with large entries gets fewer turns. A newcomer's first entry is before
/// all entries of those that had a turn since it came. (P. Goyal, H. Vin and H. Cheng, "Start-time fair queueing",
/// 1996.)
///
/// Memory: one entry each, at most three for each holder that waits, and at most 1,024 at each level for those that
/// left while others wait. All are forgotten when nobody waits.
#[derive(Debug)]
pub struct Turns<T> {
    /// Numbers entries in the order in which they came.
    last: u64,
    len: usize,
    root: Node<T>,
}

/// Identifies an entry of [`Turns`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket(u64);

/// An account and those below it, or a source's entries.
#[derive(Debug)]
struct Node<T> {
    /// The virtual time of the last turn that one of `accounts` took.
    now: u64,
    accounts: BTreeMap<Account, (Place, Node<T>)>,
    order: BTreeMap<Place, Account>,
    /// The virtual times, after `now`, of the next turns of those that left, so that none gains by coming again.
    left: BTreeMap<Account, u64>,
    left_order: BTreeSet<(u64, Account)>,
    entries: VecDeque<Entry<T>>,
}

/// The virtual time of an account's next turn, and when it came.
type Place = (u64, Ticket);

#[derive(Debug)]
struct Entry<T> {
    ticket: Ticket,
    cost: u64,
    content: T,
}

impl<T> Default for Turns<T> {
    fn default() -> Self {
        Self { last: 0, len: 0, root: Node::default() }
    }
}

impl<T> Default for Node<T> {
    fn default() -> Self {
        Self {
            now: 0,
            accounts: BTreeMap::new(),
            order: BTreeMap::new(),
            left: BTreeMap::new(),
            left_order: BTreeSet::new(),
            entries: VecDeque::new(),
        }
    }
}

impl<T> Turns<T> {
    /// The number of entries.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether nobody waits.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Adds an entry of `holder`, after its others.
    pub fn push(&mut self, holder: Holder, cost: usize, content: T) -> Ticket {
        self.last = self.last.saturating_add(1);
        self.len = self.len.saturating_add(1);
        let ticket = Ticket(self.last);
        let cost = u64::try_from(cost).unwrap_or(u64::MAX).max(1);
        let mut node = &mut self.root;
        for account in holder.accounts() {
            node = node.account(account, ticket);
        }
        node.entries.push_back(Entry { ticket, cost, content });
        ticket
    }

    /// Removes the entry whose turn it is.
    pub fn pop(&mut self) -> Option<(Holder, T)> {
        self.pop_where(|_| true)
    }

    /// Removes the entry whose turn it is of those that `may` have one, by their accounts from the widest on. It is
    /// asked for the wider ones alone first.
    pub(crate) fn pop_where(&mut self, may: impl Fn(&[Account]) -> bool) -> Option<(Holder, T)> {
        let (account, entry) = self.root.pop(&mut Vec::new(), &may)?;
        self.len = self.len.saturating_sub(1);
        let Account::Client(cluster, source) = account? else { return None };
        Some((Holder { cluster, source }, entry.content))
    }

    /// Removes an entry that waits no longer. None if it had its turn.
    pub fn cancel(&mut self, holder: Holder, ticket: Ticket) -> Option<T> {
        let path: Vec<Account> = holder.accounts().collect();
        let content = self.root.cancel(&path, ticket)?;
        self.len = self.len.saturating_sub(1);
        Some(content)
    }
}

impl<T> Node<T> {
    /// An account below this one, whose turn is next unless it had one that is still ahead of others'.
    fn account(&mut self, account: Account, ticket: Ticket) -> &mut Self {
        let Self { now, accounts, order, left, left_order, .. } = self;
        let (_, below) = accounts.entry(account).or_insert_with(|| {
            let next = left.remove(&account).unwrap_or(*now);
            left_order.remove(&(next, account));
            // Others may have had many turns since it left.
            let time = next.max(*now);
            order.insert((time, ticket), account);
            ((time, ticket), Self::default())
        });
        below
    }

    /// An account waits for nothing any more; `next` would have been the time of its next turn.
    fn leave(&mut self, account: Account, next: u64) {
        if self.accounts.is_empty() {
            self.left.clear();
            self.left_order.clear();
            return;
        }
        self.left.insert(account, next);
        self.left_order.insert((next, account));
        while self.left.len() > MAX_LEFT || self.left_order.first().is_some_and(|(time, _)| *time <= self.now)
        {
            let Some((_, account)) = self.left_order.pop_first() else { return };
            self.left.remove(&account);
        }
    }

    fn is_empty(&self) -> bool {
        self.accounts.is_empty() && self.entries.is_empty()
    }

    /// The entry whose turn it is of those that `may` have one, and its source's account if that is below this one.
    /// `path` leads here.
    fn pop(
        &mut self,
        path: &mut Vec<Account>,
        may: &impl Fn(&[Account]) -> bool,
    ) -> Option<(Option<Account>, Entry<T>)> {
        if self.order.is_empty() {
            return self.entries.pop_front().map(|entry| (None, entry));
        }
        let (place, account, (source, entry)) = self.order.iter().find_map(|(place, account)| {
            path.push(*account);
            let below = self.accounts.get_mut(account).filter(|_| may(path));
            let popped = below.and_then(|(_, node)| node.pop(path, may));
            path.pop();
            Some((*place, *account, popped?))
        })?;
        self.order.remove(&place);
        let (_, node) = self.accounts.remove(&account)?;
        let (time, ticket) = place;
        self.now = self.now.max(time);
        let next = time.saturating_add(entry.cost);
        if node.is_empty() {
            self.leave(account, next);
        } else {
            self.order.insert((next, ticket), account);
            self.accounts.insert(account, ((next, ticket), node));
        }
        Some((source.or(Some(account)), entry))
    }

    fn cancel(&mut self, path: &[Account], ticket: Ticket) -> Option<T> {
        let Some((account, below)) = path.split_first() else {
            let at = self.entries.binary_search_by_key(&ticket, |entry| entry.ticket).ok()?;
            return self.entries.remove(at).map(|entry| entry.content);
        };
        let (place, node) = self.accounts.get_mut(account)?;
        let content = node.cancel(below, ticket)?;
        if node.is_empty() {
            let place = *place;
            self.order.remove(&place);
            self.accounts.remove(account);
            self.leave(*account, place.0);
        }
        Some(content)
    }
}

/// Accounts at one level that left while others wait.
const MAX_LEFT: usize = 1024;

#[cfg(test)]
mod tests;
