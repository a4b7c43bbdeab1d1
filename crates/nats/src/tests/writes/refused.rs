//! Writes that are not sent, or that a server refuses.

use super::*;

impl Case {
    /// The fault and the code of the first record, whose message must not be stored, while the one after it is.
    async fn refusal(&self, refused: Record) -> (Fault, i32) {
        let reports = self.produce(vec![refused, record("S.next", "")]).await;
        assert!(reports[1].is_ok(), "a refused message does not stop others: {:?}", reports[1]);
        let error = reports[0].clone().unwrap_err();
        assert_eq!(error.retry_after.is_zero(), !error.fault.is_retriable());
        (error.fault, error.code)
    }
}

fn to(stream: &str, subject: &str) -> Record {
    Record { topic: stream.to_owned(), ..record(subject, "x") }
}

fn sized(bytes: usize) -> Record {
    record("S.a", vec![0; bytes])
}

#[tokio::test]
async fn message_for_no_stream_is_refused() {
    let case = Case::of(0).await;
    for (record, fault, code) in [
        (to("NONE", "NONE.a"), Fault::NotFound, 10059),
        (to("a.b", "S.a"), Fault::Invalid, 0),
        (to("S", "T.a"), Fault::InvalidRecord, 0),
        (to("S", "S"), Fault::InvalidRecord, 0),
        (Record { partition: Some(1), ..to("S", "S.a") }, Fault::NotFound, 0),
        (Record { key: None, ..to("S", "") }, Fault::Invalid, 0),
    ] {
        assert_eq!(case.refusal(record.clone()).await, (fault, code), "{record:?}");
    }
    let missing = case.produce_one(to("NONE", "NONE.a")).await.unwrap_err();
    assert_eq!(missing.message, "stream NONE does not exist, create it first");
}

#[tokio::test]
async fn streams_that_take_no_messages_are_refused() {
    let case = Case::of(0).await;
    case.stream("SEALED", 1).await;
    case.call("STREAM.UPDATE.SEALED", json!({ "name": "SEALED", "subjects": ["SEALED.>"], "sealed": true }))
        .await;
    case.streams.create("SILENT", json!({ "no_ack": true })).await.unwrap();
    case.call("STREAM.CREATE.MIRROR", json!({ "name": "MIRROR", "mirror": { "name": "S" } })).await;
    for stream in ["SEALED", "SILENT", "MIRROR"] {
        let (fault, _) = case.refusal(to(stream, &format!("{stream}.a"))).await;
        assert_eq!(fault, Fault::Rejected, "{stream}");
    }
}

#[tokio::test]
async fn too_large_message_is_not_sent() {
    let case = Case::start_with("max_payload: 100000", |_| {}).await;
    case.stream("S", 0).await;
    assert_eq!(case.refusal(sized(100_000 + 1)).await, (Fault::TooLarge, 0));
    assert!(case.produce_one(sized(100_000)).await.is_ok());
    case.call("STREAM.UPDATE.S", json!({ "name": "S", "subjects": ["S.>"], "max_msg_size": 1_000 })).await;
    sleep(Duration::from_millis(1_100)).await;
    // NATS/1.0, a: 1, and line breaks.
    let (headers, with_header) = (12 + 6, |bytes| Record { headers: vec![header("a", "1")], ..sized(bytes) });
    assert_eq!(case.refusal(with_header(1_000 - headers + 1)).await, (Fault::TooLarge, 0));
    assert!(case.produce_one(with_header(1_000 - headers)).await.is_ok());
}

#[tokio::test]
async fn servers_refusals_keep_their_code() {
    let case = Case::start().await;
    case.streams
        .create("S", json!({ "max_msgs_per_subject": 2, "discard": "new", "discard_new_per_subject": true }))
        .await
        .unwrap();
    let long = "x".repeat(70_000);
    let large = Record { headers: vec![header("a", &long)], ..record("S.a", "") };
    // Only servers know this limit.
    assert_eq!(case.produce_one(large).await.unwrap_err().fault, Fault::TooLarge);
    let reports = case
        .produce(vec![record("S.a", "1"), record("S.a", "2"), record("S.a", "3"), record("S.b", "4")])
        .await;
    assert_eq!([&reports[0], &reports[1], &reports[3]], [&written(1), &written(2), &written(3)]);
    let error = reports[2].clone().unwrap_err();
    assert_eq!((error.fault, error.code), (Fault::InvalidRecord, 10077), "{}", error.message);
    // A message that a server has refused is certainly not stored.
    assert_eq!(data_of(&case.stored("S").await), ["1", "2", "4"]);
}

#[tokio::test]
async fn message_without_a_listener_is_not_written() {
    let case = Case::writing(|_| {}).await;
    // The writer does not learn of it.
    case.call("STREAM.DELETE.S", json!({})).await;
    let error = case.produce_one(record("S.a", "")).await.unwrap_err();
    assert_eq!(error.fault, Fault::NotFound);
    assert!(error.message.contains("not written"), "{}", error.message);
}

#[tokio::test]
async fn message_that_another_stream_has_stored_is_an_error() {
    let case = Case::writing(|config| config.request_timeout = Duration::from_millis(500)).await;
    // The writer does not learn of it.
    case.call("STREAM.UPDATE.S", json!({ "name": "S", "subjects": ["moved.>"] })).await;
    case.streams.create("OTHER", json!({ "subjects": ["S.>"] })).await.unwrap();
    let error = case.produce_one(record("S.a", "1")).await.unwrap_err();
    assert_eq!(error.fault, Fault::UnknownOutcome { retriable: false });
    assert!(error.message.starts_with("another stream has stored the message"), "{}", error.message);
    // The client can ask for more.
    let strict = Record { headers: vec![header("Nats-Expected-Stream", "S")], ..record("S.a", "2") };
    assert!(is_unknown(&case.produce_one(strict).await));
    assert_eq!(data_of(&case.stored("OTHER").await), ["1"]);
}

#[tokio::test]
async fn mapped_subjects_are_written_to_the_stream_that_takes_them() {
    let mappings = r#"mappings = { "orders.*": "S.$1.new", "others.*": "T.$1" }"#;
    let case = Case::start_with(mappings, |_| {}).await;
    case.stream("S", 0).await;
    case.stream("T", 0).await;
    let mut subscriber = case.streams.client().subscribe("S.>").await.unwrap();
    case.streams.client().flush().await.unwrap();
    let records = ["orders.7", "others.7", "S.b", "nobody.7"].map(|subject| record(subject, "x"));
    let told = case.produce(records.into()).await.into_iter();
    let told = told.map(|report| report.map(|written| written.offset).map_err(|error| error.fault));
    let unfit = Err(Fault::InvalidRecord);
    assert_eq!(told.collect::<Vec<_>>(), [Ok(1), unfit, Ok(2), unfit]);
    let orders = &b"S.7.new"[..];
    assert_eq!(case.stored("S").await[0].key.as_deref(), Some(orders));
    // The server has been asked without a message to anybody.
    assert_eq!(within(subscriber.next()).await.unwrap().subject.as_bytes(), orders);
    assert_eq!(case.stored("T").await, []);
}

#[tokio::test]
async fn denied_subject_is_refused_at_once() {
    let case = Case::without("S.secret.>").await;
    case.stream("S", 0).await;
    let reports = case.produce(vec![record("S.a", "1"), record("S.secret.b", "2"), record("S.c", "3")]).await;
    let error = reports[1].clone().unwrap_err();
    assert_eq!(error.fault, Fault::NotAuthorized);
    assert!(!error.message.contains("secret"), "{}", error.message);
    assert_eq!([&reports[0], &reports[2]], [&written(1), &written(2)]);
    assert_eq!(data_of(&case.stored("S").await), ["1", "3"]);
}

#[tokio::test]
async fn answers_of_other_subscribers_are_ignored() {
    let case = Case::of(0).await;
    let client = case.streams.client().clone();
    let mut subscriber = client.subscribe("S.>").await.unwrap();
    client.flush().await.unwrap();
    let refusal = r#"{"stream":"T","error":{"code":400,"err_code":10060}}"#;
    let answering = tokio::spawn(async move {
        while let Some(message) = subscriber.next().await {
            for answer in ["ok", r#"{"stream":"T","seq":9}"#, refusal] {
                client.publish(message.reply.clone().unwrap(), answer.into()).await.unwrap();
            }
        }
    });
    for sequence in 1..=50 {
        assert_eq!(case.produce_one(record("S.a", "")).await, written(sequence));
    }
    answering.abort();
}
