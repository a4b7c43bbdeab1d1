//! Rights that change or end while they are used.

use sluicegate_backend::command::TopicNames;

use super::*;
use crate::cluster::Parts;
use crate::testing::script::Script;

/// The right to read these topics.
fn grant(topics: &str) -> Grant {
    let rights = Rights { read: Topics::parse(topics.as_bytes()), ..Rights::default() };
    Grant::new(Script::cluster(1).0, ClientKey::default(), None, rights)
}

#[test]
fn reload_makes_answers_smaller_but_not_larger() {
    let (cluster, _) = Script::cluster(1_000);
    let grant = Grant::all(&cluster);
    for (max_bytes, want) in [(5_000, 1_000), (500, 500), (1_000, 1_000)] {
        cluster.set_bounds(Reads { max_bytes, wait: Duration::ZERO, table_away: Duration::ZERO }, 1);
        assert_eq!(grant.max_bytes(ReadBounds::default()), want);
    }
}

#[tokio::test]
async fn denial_names_the_right_and_the_topic() {
    let (cluster, _) = Script::cluster(1);
    let list = |topics: &str| Topics::parse(topics.as_bytes());
    let check = |rights: Rights, denied: [(&str, &str); 2]| {
        let grant = Grant::of(&cluster, rights);
        let found = [(grant.check_read("0"), "read"), (grant.check_write("0"), "write")];
        for ((found, right), (words, at)) in found.into_iter().zip(denied) {
            let error = found.unwrap_err();
            let lacks = error.lacks.map(|lacks| (lacks.right, lacks.topic));
            assert_eq!((&*error.message, lacks), (words, Some((right, Some(at.to_owned())))));
        }
    };
    let read = "the client may not read topic 0 on this route";
    let write = "the client may not write to topic 0 on this route";
    check(Rights { read: list("1"), write: list("1"), ..Rights::default() }, [(read, "0"), (write, "0")]);
    check(Rights::default(), [(NOT_READABLE, "0"), (NOT_WRITABLE, "0")]);
    cluster.replace(Parts::new(cluster.backend(), 9, cluster.reads(), None), Instant::now()).await;
    let read_only = "the bridge does not write to cluster test (write.clusters, or route_clusters.write)";
    check(Rights { read: list("1"), write: list("0"), ..Rights::default() }, [(read, "0"), (read_only, "0")]);
}

fn alice(expires: Option<Instant>) -> Holding {
    let person = Person::new(Some("issuer".into()), Some("alice".into()), None, None);
    Holding { person: Arc::new(person), expires }
}

#[tokio::test(start_paused = true)]
async fn renewal_takes_topics_from_reads_that_wait() {
    let grant = grant("100,200");
    let bounds = ReadBounds::default();
    let places = [(log("100"), 0), (log("200"), 0)];
    let (mut one, mut other) = ((), ());
    let fetch = grant.fetch(log("100"), 0, bounds, vec![], &mut one);
    let fetches = grant.multi_fetch(&places, bounds, vec![], &mut other);
    let rights = Rights { read: Topics::parse(b"200"), ..Rights::default() };
    let (fetched, many, ()) = tokio::join!(fetch, fetches, async { grant.renew(rights, alice(None)) });
    assert_eq!(fetched.err().map(|error| error.fault), Some(Fault::Forbidden));
    let many: Vec<_> = many.unwrap().into_iter().map(|one| one.err().map(|error| error.fault)).collect();
    assert_eq!(many, [Some(Fault::Forbidden), None]);
}

#[tokio::test(start_paused = true)]
async fn grant_ends_at_the_first_of_expiry_and_age() {
    let after = |seconds| Instant::now() + Duration::from_secs(seconds);
    let ends =
        [(1, 2, TermCause::Identity, Fault::Unauthenticated), (2, 1, TermCause::Age, Fault::Transient)];
    for (expires, aged, cause, fault) in ends {
        let began = Instant::now();
        let grant = grant("0").held(Some(alice(Some(after(expires)))), Some(after(aged)));
        assert_eq!(grant.ended().await, cause);
        assert_eq!(began.elapsed(), Duration::from_secs(1));
        assert_eq!(grant.check_read("0").err().map(|error| error.fault), Some(fault));
        // Its age is not renewed.
        grant.renew(Rights::all(), alice(Some(after(9))));
        assert_eq!(grant.check_read("0").is_ok(), cause == TermCause::Identity);
    }
}

#[tokio::test(start_paused = true)]
async fn revocation_ends_reads_that_wait() {
    let holding = alice(None);
    let grant = grant("60000").held(Some(holding.clone()), None);
    let began = Instant::now();
    let mut waiter = ();
    let waits = grant.fetch(log("60000"), 0, ReadBounds::default(), vec![], &mut waiter);
    let (fetched, cause, ()) = tokio::join!(waits, grant.ended(), async { holding.person.revoke() });
    let fault = fetched.err().map(|error| error.fault);
    assert_eq!((fault, cause), (Some(Fault::Unauthenticated), TermCause::Revoked));
    assert_eq!(began.elapsed(), Duration::ZERO);
    assert!(grant.check_read("60000").is_err());
}

fn log(topic: &str) -> Log<'_> {
    Log { topic, partition: 0 }
}

#[tokio::test]
async fn page_without_names_has_granted_topics_only() {
    let prefixes = vec!["a".to_owned(), "b".to_owned()];
    for names in [TopicNames::default(), TopicNames { prefixes, ..TopicNames::default() }] {
        let page = grant("0,b.*,gone").describe_page(names, |_| 0).await.unwrap();
        let names: Vec<String> = page.topics.into_iter().map(|topic| topic.name).collect();
        assert_eq!(names, ["b.1", "b.2"]);
    }
}
