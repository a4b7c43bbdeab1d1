//! Identities that are over before they expire: which are known, and whose sessions end.

mod topic;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Weak};
use std::time::SystemTime;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use sluicegate_delivery::grant::Person;
use sluicegate_identity::{Identified, MAX_ENTRIES, Revocation, RevocationList, Revocations};
use sluicegate_telemetry::metrics::RevocationMetrics;
use sluicegate_telemetry::rate_limit::RateLimit;
use sluicegate_telemetry::shown;
use tokio::sync::watch;

pub(crate) use self::topic::follow;

/// The revoked identities, and the people who are being served.
pub(crate) struct Revoked {
    known: Mutex<Known>,
    all: ArcSwap<Revocations>,
    people: Mutex<People>,
    /// Whether the topic was read to its end once, or there is none.
    is_complete: watch::Sender<bool>,
    /// Of log lines about invalid records.
    warnings: RateLimit,
    metrics: RevocationMetrics,
}

/// Revocations by where they are from.
#[derive(Default)]
struct Known {
    listed: Vec<Revocation>,
    /// By the keys of their records.
    in_topic: HashMap<Vec<u8>, Revocation>,
    /// How many of the topic there was no room for, ever.
    evicted: usize,
}

/// People who are being served, and some who were.
#[derive(Default)]
struct People {
    all: Vec<Weak<Person>>,
    /// Beyond it, those who have left are removed.
    sweep_at: usize,
}

/// Why a person is not served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NotServed {
    /// The identity is revoked.
    Revoked,
    /// The revocations are not all known yet.
    Incomplete,
}

impl Revoked {
    /// Nothing but what is `listed`. With `has_topic`, nobody is served before it was read.
    pub(crate) fn new(listed: &RevocationList, has_topic: bool, metrics: RevocationMetrics) -> Self {
        let revoked = Self {
            known: Mutex::default(),
            all: ArcSwap::default(),
            people: Mutex::default(),
            is_complete: watch::Sender::new(!has_topic),
            warnings: RateLimit::default(),
            metrics,
        };
        revoked.list(listed);
        revoked
    }

    /// Serves a person until the identity is revoked.
    ///
    /// # Errors
    /// It is revoked, or nobody can tell yet.
    pub(crate) fn serve(&self, person: &Arc<Person>) -> Result<(), NotServed> {
        if !*self.is_complete.borrow() {
            return Err(NotServed::Incomplete);
        }
        // First, so that a revocation from now on ends what is served.
        self.people.lock().add(person);
        if has(&self.all.load(), person) { Err(NotServed::Revoked) } else { Ok(()) }
    }

    /// Whether all revocations are known, as of once.
    pub(crate) fn is_complete(&self) -> bool {
        *self.is_complete.borrow()
    }

    /// Waits until all revocations are known.
    ///
    /// # Cancel safety
    /// A drop has no effect.
    pub(crate) async fn completed(&self) {
        // The sender is this.
        let _ = self.is_complete.subscribe().wait_for(|is_complete| *is_complete).await;
    }

    /// Replaces the listed revocations. While the list has invalid lines, nothing is taken back: each of them may be one
    /// that is known.
    pub(crate) fn list(&self, listed: &RevocationList) {
        let RevocationList { entries, invalid, .. } = listed;
        let mut known = self.known.lock();
        let before = std::mem::replace(&mut known.listed, entries.clone());
        if *invalid > 0 {
            let present: HashSet<&Revocation> = entries.iter().collect();
            let missing = before.into_iter().filter(|entry| !present.contains(entry));
            known.listed.extend(missing.take(MAX_ENTRIES));
        }
        drop(known);
        self.metrics.invalid_lines(*invalid);
        self.publish();
    }

    /// Takes up a record of the topic: its key, and its revocation; None: it is taken back. It counts from
    /// [`Revoked::publish`] on.
    fn put(&self, key: &[u8], revocation: Option<Revocation>) {
        let Known { in_topic, evicted, .. } = &mut *self.known.lock();
        match revocation {
            Some(revocation) => in_topic.insert(key.to_owned(), revocation),
            None => in_topic.remove(key),
        };
        let count = in_topic.len();
        if count > MAX_ENTRIES.saturating_mul(2) {
            let mut until: Vec<i64> = in_topic.values().map(|revocation| revocation.until).collect();
            let (later, least, _) =
                until.select_nth_unstable_by_key(MAX_ENTRIES, |until| std::cmp::Reverse(*until));
            let least = *least;
            // Of those that lapse together, as many as there is room for.
            let mut room = later.iter().filter(|until| **until == least).count();
            in_topic.retain(|_, revocation| {
                let is_kept = revocation.until > least || revocation.until == least && room > 0;
                if revocation.until == least {
                    room = room.saturating_sub(1);
                }
                is_kept
            });
            *evicted = evicted.saturating_add(count.saturating_sub(in_topic.len()));
        }
    }

    /// Ends whatever is granted to people whose identities are revoked now.
    fn publish(&self) {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        let mut known = self.known.lock();
        known.in_topic.retain(|_, revocation| revocation.until > now);
        let (all, left_out) = Revocations::of(known.listed.iter().chain(known.in_topic.values()), now);
        let left_out = left_out.saturating_add(known.evicted);
        self.metrics.known(known.listed.len().saturating_add(known.in_topic.len()), left_out);
        self.all.store(Arc::new(all));
        drop(known);
        let (all, people) = (self.all.load(), self.people.lock().present());
        people.iter().filter(|person| has(&all, person)).for_each(|person| person.revoke());
    }
}

impl People {
    fn add(&mut self, person: &Arc<Person>) {
        if self.all.len() >= self.sweep_at {
            self.all.retain(|person| person.strong_count() > 0);
            self.sweep_at = self.all.len().saturating_mul(2).max(MIN_SWEEP);
        }
        self.all.push(Arc::downgrade(person));
    }

    fn present(&self) -> Vec<Arc<Person>> {
        self.all.iter().filter_map(Weak::upgrade).collect()
    }
}

/// Whether an entry has the person's names, or their forms in lists and in the audit log.
fn has(revoked: &Revocations, person: &Person) -> bool {
    let names = [&person.issuer, &person.subject, &person.token_id].map(Option::as_deref);
    let shown = names.map(|name| name.map(shown::name));
    [names, shown.each_ref().map(Option::as_deref)].into_iter().any(|[issuer, subject, token_id]| {
        revoked.has(Identified { issuer, subject, token_id, issued_at: person.issued_at })
    })
}

/// People are not looked through for fewer.
const MIN_SWEEP: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn person(subject: &str) -> Arc<Person> {
        Arc::new(Person::new(Some("i".into()), Some(subject.into()), Some(subject.into()), Some(5)))
    }

    fn entry(json: &str) -> Revocation {
        Revocation::parse(json.as_bytes()).unwrap()
    }

    fn revoked(has_topic: bool) -> Revoked {
        Revoked::new(&RevocationList::default(), has_topic, RevocationMetrics::default())
    }

    /// A list with so many lines that are invalid.
    fn list(entries: &[Revocation], invalid: usize) -> RevocationList {
        RevocationList { entries: entries.to_vec(), invalid, first_invalid: None }
    }

    #[test]
    fn people_are_served_until_they_are_revoked() {
        let (revoked, [alice, bob]) = (revoked(false), ["alice", "bob"].map(person));
        assert_eq!([&alice, &bob].map(|person| revoked.serve(person)), [Ok(()), Ok(())]);
        revoked.list(&list(&[entry(r#"{"jti":"alice","until":9999999999}"#)], 0));
        assert_eq!((alice.is_revoked(), bob.is_revoked()), (true, false));
        assert_eq!(revoked.serve(&person("alice")), Err(NotServed::Revoked));
        let person_of = r#"{"iss":"i","sub":"bob","issued_until":5,"until":9999999999}"#;
        revoked.put(b"k", Some(entry(person_of)));
        revoked.publish();
        assert!(bob.is_revoked());
        assert_eq!(revoked.serve(&person("bob")), Err(NotServed::Revoked));
        // A record without a value takes the one before back, and a list does so with what it leaves out.
        revoked.put(b"k", None);
        revoked.list(&list(&[], 0));
        assert_eq!(["alice", "bob"].map(|name| revoked.serve(&person(name))), [Ok(()), Ok(())]);
    }

    #[test]
    fn long_names_are_revoked_as_lists_show_them() {
        let long = ["a", "b"].map(|end| "x".repeat(5000) + end);
        let shown = shown::name(&long[0]);
        for names in
            [format!(r#""jti":"{shown}""#), format!(r#""iss":"{shown}","sub":"{shown}","issued_until":5"#)]
        {
            let revoked = revoked(false);
            revoked.list(&list(&[entry(&format!(r#"{{{names},"until":9999999999}}"#))], 0));
            let served = long.each_ref().map(|name| {
                let name = Some(name.clone());
                revoked.serve(&Arc::new(Person::new(name.clone(), name.clone(), name, Some(5))))
            });
            assert_eq!(served, [Err(NotServed::Revoked), Ok(())], "{names}");
        }
    }

    #[test]
    fn list_with_invalid_lines_revokes_more_and_takes_nothing_back() {
        let revoked = revoked(false);
        let of = |name: &str| entry(&format!(r#"{{"jti":"{name}","until":9999999999}}"#));
        let served = || ["alice", "bob"].map(|name| revoked.serve(&person(name)).is_ok());
        revoked.list(&list(&[of("alice")], 0));
        assert_eq!(served(), [false, true]);
        revoked.list(&list(&[of("bob")], 1));
        assert_eq!(served(), [false, false]);
        revoked.list(&list(&[of("bob")], 0));
        assert_eq!(served(), [true, false]);
    }

    #[test]
    fn nobody_is_served_before_the_topic_is_read() {
        let revoked = revoked(true);
        assert_eq!(revoked.serve(&person("alice")), Err(NotServed::Incomplete));
        revoked.is_complete.send_replace(true);
        assert_eq!(revoked.serve(&person("alice")), Ok(()));
    }

    #[test]
    fn revocations_that_lapse_together_are_kept_as_far_as_there_is_room() {
        let revoked = revoked(true);
        for number in 0..=2 * MAX_ENTRIES {
            let json = format!(r#"{{"jti":"{number}","until":9999999999}}"#);
            revoked.put(number.to_string().as_bytes(), Some(entry(&json)));
        }
        let known = revoked.known.lock();
        assert_eq!((known.in_topic.len(), known.evicted), (MAX_ENTRIES, MAX_ENTRIES + 1));
    }

    #[test]
    fn people_who_left_are_forgotten() {
        let revoked = revoked(false);
        let stays = person("alice");
        revoked.serve(&stays).unwrap();
        for _ in 0..10 * MIN_SWEEP {
            revoked.serve(&person("bob")).unwrap();
        }
        let people = revoked.people.lock();
        assert!(people.all.len() <= 2 * MIN_SWEEP, "{}", people.all.len());
        assert!(people.present().iter().any(|person| Arc::ptr_eq(person, &stays)));
    }
}
