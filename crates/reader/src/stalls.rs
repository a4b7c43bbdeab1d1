//! The clients whose fetches have held up those of others.

use std::collections::BTreeMap;
use std::time::Duration;

use parking_lot::Mutex;
use sluicegate_fair_share::Holder;
use tokio::time::Instant;

/// Counts the fetches behind which those of others waited, by client.
///
/// The first fetch of a slow log comes without a warning, and a client can read many of them. One with [`MAX_STALLS`] in
/// [`PERIOD`] fetches as if all logs were slow until the period ends. When there are [`MAX_HOLDERS`], the one whose
/// period began first is forgotten.
#[derive(Debug, Default)]
pub(crate) struct Stalls {
    /// The beginning of the period, and the number.
    by_holder: Mutex<BTreeMap<Holder, (Instant, u32)>>,
}

impl Stalls {
    pub(crate) fn note(&self, holder: Holder, now: Instant) {
        let mut by_holder = self.by_holder.lock();
        if by_holder.len() >= MAX_HOLDERS
            && !by_holder.contains_key(&holder)
            && let Some(oldest) = by_holder.iter().min_by_key(|(_, (begun, _))| *begun)
        {
            let oldest = *oldest.0;
            by_holder.remove(&oldest);
        }
        let (begun, count) = by_holder.entry(holder).or_insert((now, 0));
        if now.saturating_duration_since(*begun) >= PERIOD {
            (*begun, *count) = (now, 0);
        }
        *count = count.saturating_add(1);
    }

    /// Whether a client has held up others too often.
    pub(crate) fn are_many(&self, holder: Holder, now: Instant) -> bool {
        let by_holder = self.by_holder.lock();
        by_holder.get(&holder).is_some_and(|(begun, count)| {
            *count >= MAX_STALLS && now.saturating_duration_since(*begun) < PERIOD
        })
    }
}

const MAX_STALLS: u32 = 2;

const PERIOD: Duration = Duration::from_secs(10);

const MAX_HOLDERS: usize = 1_000;

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use sluicegate_fair_share::ClientKey;

    use super::*;

    fn holder(number: u16) -> Holder {
        let [high, low] = number.to_be_bytes();
        ClientKey::from(IpAddr::from([192, 0, high, low])).into()
    }

    #[test]
    fn client_with_many_stalls_is_known_until_its_period_ends() {
        let (stalls, now) = (Stalls::default(), Instant::now());
        (1..MAX_STALLS).for_each(|_| stalls.note(holder(1), now));
        assert!(!stalls.are_many(holder(1), now));
        stalls.note(holder(1), now);
        assert!(stalls.are_many(holder(1), now) && !stalls.are_many(holder(2), now));
        assert!(!stalls.are_many(holder(1), now + PERIOD));
        stalls.note(holder(1), now + PERIOD);
        assert!(!stalls.are_many(holder(1), now + PERIOD));
    }

    #[test]
    fn clients_are_bounded() {
        let (stalls, now) = (Stalls::default(), Instant::now());
        for number in 0..2_000 {
            stalls.note(holder(number), now + Duration::from_millis(number.into()));
        }
        assert_eq!(stalls.by_holder.lock().len(), MAX_HOLDERS);
        assert!(stalls.by_holder.lock().contains_key(&holder(1_999)));
    }
}
