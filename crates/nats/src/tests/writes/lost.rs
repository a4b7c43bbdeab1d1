//! Writes whose acknowledgements do not come, and the end of writing.

use super::*;

#[tokio::test]
async fn missing_acknowledgement_is_an_unknown_outcome() {
    let mut case = Case::writing(|config| config.request_timeout = Duration::from_millis(500)).await;
    case.server.process.freeze();
    let reports = case.produce(vec![record("S.a", "2"), with_id("x", record("S.a", "3"))]).await;
    assert!(reports.iter().all(is_unknown), "{reports:?}");
    let is_advised = |report: &DeliveryReport| report.clone().unwrap_err().message.contains("is safe");
    assert_eq!(reports.iter().map(is_advised).collect::<Vec<_>>(), [false, true]);
    assert!(!case.nats.has_queued_records());
    case.server.process.thaw();
    let repeated = case.produce_one(with_id("x", record("S.a", "3"))).await.unwrap();
    assert!(repeated.dedup.unwrap().is_duplicate);
    assert_eq!(data_of(&case.stored("S").await), ["1", "2", "3"]);
}

#[tokio::test]
async fn messages_are_not_sent_after_their_connection_is_lost() {
    // async-nats tries each server once when it reconnects, sooner or later.
    let change = |config: &mut ClusterConfig| config.servers = vec![config.servers[0].clone(); 12];
    let mut case = Case::writing(change).await;
    case.server.process.freeze();
    // More than the sockets take: the rest stays in async-nats.
    let records: Vec<Record> = (0..50).map(|_| record("S.a", vec![0; 1_000_000])).collect();
    let enqueued = hand_over(&case.nats, records, &case.due).await;
    assert_eq!(enqueued.queued, 50);
    sleep(Duration::from_millis(200)).await;
    case.server.process.kill();
    let reports = within(enqueued.reports).await;
    assert!(reports.iter().all(is_unknown), "{reports:?}");
    case.server.up().await.unwrap();
    // As long as it takes async-nats to reconnect.
    sleep(Duration::from_secs(1)).await;
    assert_eq!(case.produce_one(record("S.a", "second")).await, written(2));
    assert_eq!(data_of(&case.stored("S").await), ["1", "second"]);
}

#[tokio::test]
async fn message_that_is_not_sent_in_time_is_not_written() {
    let mut case = Case::writing(|config| {
        // Also the time in which the server catches up.
        config.request_timeout = Duration::from_secs(2);
        config.queue_bytes = 256 << 20;
    })
    .await;
    case.server.process.freeze();
    // More than the sockets take, and then more messages than async-nats takes.
    let large = (0..50).map(|_| record("S.large", vec![0; 1_000_000])).collect();
    let mut enqueued = vec![hand_over(&case.nats, large, &case.due).await];
    for command in 0..4 {
        enqueued
            .push(hand_over(&case.nats, numbered(command * 1_000..(command + 1) * 1_000), &case.due).await);
    }
    let mut reports = Vec::new();
    for enqueued in enqueued {
        reports.extend(within(enqueued.reports).await);
    }
    let sent = reports.iter().take_while(|report| is_unknown(report)).count();
    assert!((50 + 2_000..50 + 4_000).contains(&sent), "{sent}");
    let unsent = Fault::Unreachable { retriable: true };
    let is_unsent = |report: &DeliveryReport| matches!(report, Err(error) if error.fault == unsent);
    assert!(reports[sent..].iter().all(is_unsent), "no message overtakes one that is not sent");
    case.server.process.thaw();
    // The connection is in order, so everything before this message has arrived.
    let last = case.produce_one(record("S.a", "last")).await.unwrap();
    assert_eq!(usize::try_from(last.offset).unwrap(), 1 + sent + 1);
}

#[tokio::test]
async fn write_without_a_server_is_not_written() {
    let mut case = Case::start_with("", |config| config.request_timeout = Duration::from_millis(500)).await;
    case.stream("S", 0).await;
    assert!(case.produce_one(record("S.a", "1")).await.is_ok());
    case.server.process.kill();
    until(|| !case.nats.writer.as_ref().unwrap().is_connected()).await;
    let refused = within(enqueue(&case.nats, ClientKey::default(), numbered([2]), &case.due)).await;
    let error = refused.err().unwrap();
    assert_eq!(error.fault, Fault::Unreachable { retriable: true });
    assert!(!error.message.contains("127.0.0.1"), "{}", error.message);
    case.server.up().await.unwrap();
    // By itself, without another write.
    until(|| case.nats.writer.as_ref().unwrap().is_connected()).await;
    assert_eq!(case.produce_one(record("S.a", "3")).await, written(2));
}

#[tokio::test]
async fn dropped_command_is_written_as_a_whole_or_not_at_all() {
    let case = Case::of(0).await;
    let due = CancellationToken::new();
    let mut expected = 0;
    for _ in 0..50 {
        let enqueuing = enqueue(&case.nats, ClientKey::default(), numbered(0..10), &due);
        tokio::select! {
            biased;
            enqueued = enqueuing => {
                // Nobody waits for the reports.
                drop(enqueued.unwrap());
                expected += 10;
            }
            () = tokio::task::yield_now() => {}
        }
    }
    drop(hand_over(&case.nats, numbered(0..10), &case.due).await);
    until(|| !case.nats.has_queued_records()).await;
    assert_eq!(case.stored("S").await.len(), expected + 10);
}

#[tokio::test]
async fn end_waits_for_acknowledgements() {
    let mut case = Case::writing(|_| {}).await;
    case.server.process.freeze();
    let enqueued = hand_over(&case.nats, numbered(2..=100), &case.due).await;
    let ending = case.nats.end_writes(Instant::now() + Duration::from_secs(30));
    let thawing = async {
        sleep(Duration::from_millis(200)).await;
        assert!(case.nats.has_queued_records());
        case.server.process.thaw();
    };
    within(futures_util::future::join(ending, thawing)).await;
    assert!(!case.nats.has_queued_records());
    assert!(within(enqueued.reports).await.iter().all(Result::is_ok));
    let closed = enqueue(&case.nats, ClientKey::default(), numbered([101]), &case.due).await.err().unwrap();
    assert_eq!(closed, CommandError::shutting_down());
    assert_eq!(case.stored("S").await.len(), 100);
}

#[tokio::test]
async fn end_of_writes_is_bounded() {
    let mut case = Case::writing(|_| {}).await;
    case.server.process.freeze();
    let enqueued =
        hand_over(&case.nats, vec![record("S.a", "2"), with_id("x", record("S.a", "3"))], &case.due).await;
    let start = Instant::now();
    within(case.nats.end_writes(start + Duration::from_millis(100))).await;
    case.due.cancel();
    let reports = within(enqueued.reports).await;
    assert!(start.elapsed() < Duration::from_secs(2), "before the request times out");
    assert!(reports.iter().all(is_unknown), "{reports:?}");
    let message = |index: usize| reports[index].clone().unwrap_err().message;
    assert!(message(0).contains("shutting down") && message(1).ends_with("is safe"), "{}", message(1));
}
