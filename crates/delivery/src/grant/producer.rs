//! The names of producers in a cluster: nobody can write as the producer of another person.

use std::net::Ipv6Addr;

use ring::digest::{SHA256, digest};
use sluicegate_backend::Account;
use sluicegate_backend::command::{Producer, Record};
use sluicegate_fair_share::ClientKey;

use super::Grant;

impl Grant {
    /// A producer of this client, with records of a command. The same person has the same one over every route. Without an identity, whoever knows
    /// its name has it.
    pub(super) fn account(&self, producer: &Producer, records: &[Record]) -> Account {
        let holding = self.holding();
        // Without a subject, it is nobody in particular.
        let person = holding.as_ref().and_then(|holding| {
            let subject = holding.person.subject.as_deref()?;
            Some(hash(&[PERSON, holding.person.issuer.as_deref().unwrap_or_default(), subject]))
        });
        let id = match &person {
            Some([high, low]) => hash(&[OF_PERSON, &format!("{high:x}.{low:x}"), &producer.id]),
            None => hash(&[OF_ANYBODY, &producer.id]),
        };
        // Persons share limits one by one, not by address. Each has a network of its own.
        let source = person.map_or(self.client, |[high, _]| {
            ClientKey::from(std::net::IpAddr::V6(Ipv6Addr::from(u128::from(high) << 64)))
        });
        let is_named = |record: &Record| record.partition.is_some_and(|number| number >= 0);
        Account {
            id: number(id),
            epoch: producer.epoch,
            sequence: producer.sequence,
            age: producer.age,
            is_placed: self.system().has_partitions && !records.iter().all(is_named),
            new: self.cluster.new_producers(source),
            questions: self.cluster.requests(self.client),
        }
    }
}

/// The first 16 bytes of the SHA-256 of texts, of which no other list has the same.
fn hash(texts: &[&str]) -> [u64; 2] {
    let mut bytes = Vec::new();
    for text in texts {
        bytes.extend_from_slice(&u64::try_from(text.len()).unwrap_or(u64::MAX).to_be_bytes());
        bytes.extend_from_slice(text.as_bytes());
    }
    let hash = digest(&SHA256, &bytes);
    let mut words = hash.as_ref().as_chunks::<8>().0.iter().map(|word| u64::from_be_bytes(*word));
    std::array::from_fn(|_| words.next().unwrap_or_default())
}

/// The id of a producer: 62 bits of a hash. Brokers count theirs up from 0, and do not reach the others in centuries.
fn number([high, _]: [u64; 2]) -> i64 {
    (high >> 2).cast_signed() | 1 << 62
}

const PERSON: &str = "person";
const OF_PERSON: &str = "producer of a person";
const OF_ANYBODY: &str = "producer";

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use sluicegate_backend::System;
    use sluicegate_rights::Rights;

    use super::super::{Holding, Person};
    use super::*;
    use crate::testing::script::Script;

    fn producer() -> Producer {
        Producer { id: "p".to_owned(), epoch: 0, sequence: 0, age: Duration::ZERO }
    }

    #[test]
    fn ids_are_those_that_no_broker_gives_out() {
        for id in ["a", "b", ""] {
            let number = number(hash(&[OF_ANYBODY, id]));
            assert!(number >= 1 << 62, "{number}");
        }
        assert_ne!(hash(&["ab", "c"]), hash(&["a", "bc"]));
    }

    #[tokio::test(start_paused = true)]
    async fn partition_that_a_record_leaves_open_is_chosen() {
        for (system, partition, is_placed) in [
            (System::Kafka, None, true),
            (System::Kafka, Some(-1), true),
            (System::Kafka, Some(0), false),
            (System::Nats, None, false),
        ] {
            let grant = Grant::all(&Script::cluster_of(system, 1).0);
            let account = grant.account(&producer(), &[Record { partition, ..Record::default() }]);
            assert_eq!(account.is_placed, is_placed, "{system:?} {partition:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn producer_is_its_persons_over_every_route() {
        let (cluster, _script) = Script::cluster(1);
        let id = |person: Option<(&str, Option<&str>)>, route: &str| {
            let (client, route) = (ClientKey::default(), Some(route.as_bytes()));
            let grant = Grant::new(Arc::clone(&cluster), client, route, Rights::all());
            let holding = person.map(|(issuer, subject)| {
                let person = Person::new(Some(issuer.to_owned()), subject.map(str::to_owned), None, None);
                Holding { person: Arc::new(person), expires: None }
            });
            grant.held(holding, None).account(&producer(), &[]).id
        };
        let alice = id(Some(("i", Some("alice"))), "one");
        assert_eq!(alice, id(Some(("i", Some("alice"))), "two"));
        let others = [Some(("i", Some("bob"))), Some(("j", Some("alice"))), Some(("i", None)), None];
        let others = others.map(|other| id(other, "one"));
        assert!(!others.contains(&alice));
        // Clients without an identity have the producers whose names they know.
        assert_eq!(others[2], others[3]);
    }
}
