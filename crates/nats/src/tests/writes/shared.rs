//! Many clients write at the same time.

use std::net::IpAddr;

use super::*;

fn source(number: u8) -> ClientKey {
    ClientKey::from(IpAddr::from([10, 0, 0, number]))
}

#[tokio::test]
async fn client_that_fills_the_queue_leaves_room_for_others() {
    let mut case = Case::start().await;
    let metrics = Metrics::default().writes("test");
    (case.nats, case.shared) =
        writing(&ClusterConfig { queue_records: 100, ..config(&case.server) }, metrics.clone());
    case.stream("S", 0).await;
    case.keep_streams();
    assert!(case.produce_one(record("S.a", "")).await.is_ok());
    case.server.process.freeze();
    let due = CancellationToken::new();
    let greedy = within(enqueue(&case.nats, source(1), numbered(0..200), &due)).await.unwrap();
    assert!((70..=80).contains(&greedy.queued), "{}", greedy.queued);
    let bystander = within(enqueue(&case.nats, source(2), numbered(0..10), &due)).await.unwrap();
    assert_eq!(bystander.queued, 10);
    case.server.process.thaw();
    let queued = greedy.queued;
    let reports = within(greedy.reports).await;
    let (written, refused) = reports.split_at(queued);
    assert!(written.iter().all(Result::is_ok));
    assert!(refused.iter().all(|report| *report == Err(CommandError::queue_full())), "no record overtakes");
    assert!(within(bystander.reports).await.iter().all(Result::is_ok));
    assert_eq!(case.stored("S").await.len(), 1 + queued + 10);
    assert_eq!(metrics.queued.get(), 0);
    assert_eq!(metrics.failures().iter().sum::<u64>(), u64::try_from(refused.len()).unwrap());
}

#[tokio::test]
async fn message_larger_than_the_queue_is_refused() {
    let case = Case::start_with("", |config| config.queue_bytes = 10_000).await;
    case.stream("S", 0).await;
    let reports = case.produce(vec![record("S.a", vec![0; 10_000]), record("S.a", vec![0; 5_000])]).await;
    assert_eq!(reports[0].clone().unwrap_err().fault, Fault::TooLarge);
    assert_eq!(reports[1], written(1));
}
