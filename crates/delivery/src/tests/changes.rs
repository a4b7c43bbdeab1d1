//! Subscriptions to logs that become others, fall silent, or wait for a transaction.

use super::*;

const FIRST: u128 = 1;
const SECOND: u128 = 2;

/// Subscribes to one partition from its beginning, of a topic with this id.
async fn resume(logs: &Logs, topic_id: u128) -> Result<Subscription, CommandError> {
    let topic_id = Some(topic_id);
    let source = Source { partitions: vec![0], next: vec![(0, 0)], topic_id, ..Default::default() };
    subscribe(&logs.cluster(), source).await
}

#[tokio::test(start_paused = true)]
async fn client_can_know_a_new_topic_first() {
    let logs = Logs::default();
    logs.recreate(SECOND, Some(FIRST));
    let mut subscription = resume(&logs, SECOND).await.unwrap();
    assert_eq!(subscribed(&mut subscription).await[0].topic_id, Some(SECOND));
    logs.recreate(SECOND, Some(FIRST));
    assert_eq!(resume(&logs, FIRST).await.err(), None, "not asked: the client knows what the bridge knows");
    logs.recreate(SECOND, None);
    assert_eq!(resume(&logs, FIRST).await.err().unwrap().fault, Fault::Recreated);
}

/// The topic was listed a moment ago. It is being created again.
#[tokio::test(start_paused = true)]
async fn subscription_to_partitions_that_are_just_gone_can_be_retried() {
    let logs = Logs::default();
    let missing = CommandError::new(Fault::NotFound, 3, "missing");
    logs.change(|state| state.offsets_refusal = Some(missing));
    for (partitions, fault) in [(vec![], Fault::Transient), (vec![0], Fault::NotFound)] {
        let source = Source { partitions, ..Default::default() };
        let refused = subscribe(&logs.cluster(), source).await.err().unwrap();
        assert_eq!(refused.fault, fault);
    }
}

/// The new topic's log has a transaction where the old one ended.
#[tokio::test(start_paused = true)]
async fn another_topic_is_noticed_behind_an_open_transaction() {
    let logs = Logs::default();
    logs.recreate(FIRST, None);
    logs.append(0, 3);
    let mut subscription = open(&logs.cluster(), SubscribeCommand { committed: true, ..one() }).await;
    delivered(&mut subscription).await;
    assert_eq!(caught_up(&mut subscription).await, (3, None));
    logs.recreate(SECOND, None);
    logs.change(|state| state.open = Some(3));
    logs.append(0, 2);
    assert_eq!(ended(&mut subscription).await.fault, Fault::Recreated);
}

/// The bridge learns of the new topic only after it has asked whether an election has lost records.
#[tokio::test(start_paused = true)]
async fn another_topic_is_not_told_as_lost_records() {
    let logs = Logs::default();
    logs.recreate(FIRST, None);
    logs.append(0, 3);
    let mut subscription = resume(&logs, FIRST).await.unwrap();
    subscribed(&mut subscription).await;
    delivered(&mut subscription).await;
    caught_up(&mut subscription).await;
    logs.truncate(0, 1);
    logs.recreate(SECOND, Some(FIRST));
    logs.append(0, 5);
    assert_eq!(ended(&mut subscription).await.fault, Fault::Recreated);
}

/// A broker that reads says that the offset is missing, and nobody answers where the log begins.
#[tokio::test(start_paused = true)]
async fn deleted_records_are_skipped_however_long_the_start_of_the_log_is_unknown() {
    let logs = Logs::default();
    logs.append(0, 9);
    logs.delete_before(0, 5);
    logs.break_with(0, CommandError::new(Fault::OffsetOutOfRange, 1, "not there"));
    let mut subscription = open(&logs.cluster(), one()).await;
    logs.change(|state| state.offsets_refusal = Some(unreachable()));
    assert_eq!(retrying(&mut subscription).await.fault, unreachable().fault);
    assert!(timeout(Duration::from_secs(60), next(&mut subscription, usize::MAX)).await.is_err());
    logs.mend();
    let told = soon(&mut subscription).await;
    let Some(Item::Skipped { from: 0, to, cause: SkipCause::Deleted }) = told else { panic!("{told:?}") };
    assert_eq!(to.offset, 5);
}

#[tokio::test(start_paused = true)]
async fn silence_of_brokers_is_told() {
    let logs = Logs::default();
    logs.append(0, 3);
    let mut subscription = open(&logs.cluster(), one()).await;
    logs.change(|state| state.silent = Some(0));
    let began = Instant::now();
    assert_eq!(retrying(&mut subscription).await.message, "Kafka has not answered yet");
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    assert_eq!(soon(&mut subscription).await, None);
}
