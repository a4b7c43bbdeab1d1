//! Streams of NATS: `--stream` of commands that subscribe or write.

use sluicegate_protocol::nats_source::From;
use sluicegate_protocol::{NatsPublishResp, NatsSource, PublishMessage, Published};

use super::*;
use crate::nats::{delivery, message};

#[tokio::test]
async fn options_are_those_of_the_command() {
    let (url, command) = server::tell(vec![server::failed("")]).await;
    let options = "subscribe --stream A --stream B -o 7 --subject a.b --subject c --subject-prefix d. -r h=1 \
                   --linger 0.25 --on-lag skip -q";
    run(&url, options).await;
    let source = |stream: &str| NatsSource {
        stream: stream.into(),
        from: Some(From::Sequence(7)),
        ..Default::default()
    };
    let subject = RecordFilter {
        equals: vec!["a.b".into(), "c".into()],
        prefixes: vec!["d.".into()],
        ..Default::default()
    };
    let header = RecordFilter { header: Some("h".into()), equals: vec!["1".into()], ..Default::default() };
    let want = CmdNatsSubscribe {
        sources: vec![source("A"), source("B")],
        filters: vec![subject, header],
        linger_ms: 250,
        on_lag: OnLag::Skip.into(),
        credit: Some(1 << 20),
        ..Default::default()
    };
    assert_eq!(command.await.unwrap(), Req::CmdNatsSubscribe(want));
}

#[tokio::test]
async fn several_streams_are_continued_by_name() {
    let answers = ["A", "B"].map(|stream| delivery(stream, vec![message(3)]));
    let (url, _) = server::tell([&answers[..], &[server::failed("stream was deleted")]].concat()).await;
    let run = run(&url, r"subscribe --stream A --stream B -f %t:%o\n").await;
    assert_eq!((run.code, &*run.stdout), (Some(1), "A:3\nB:3\n"), "{run:?}");
    let rest = run.stderr.split_once('\n').unwrap().1;
    let want = "% continue with --stream A --from 4\n% continue with --stream B --from 4\n\
                sluicegate: stream was deleted\n";
    assert_eq!(rest, want);
}

#[tokio::test]
async fn lines_are_published_with_numbered_ids_and_named_if_rejected() {
    let args = "--subject a.b --message-id import-%n -r h=1 --print-offsets";
    let (run, sent) = publish(args, "one\ntwo\nthree\n", |number| {
        let error = ErrorResp { message: "no such subject".into(), ..Default::default() };
        Published { duplicate: number == 1, error: (number == 2).then_some(error), ..at(number) }
    })
    .await;
    let summary = "% 3 sent, 2 acknowledged (1 of them duplicates), 1 failed, 0 unknown in ";
    let places = "1 ORDERS sequence 7\n2 ORDERS sequence 8\n";
    run.tells(1, places, &[&format!("sluicegate: record 3: no such subject\n{summary}")]);
    let header = Header { key: "h".into(), value: Some("1".into()) };
    let message = |data: &'static str, id: &str| PublishMessage {
        stream: "ORDERS".into(),
        subject: "a.b".into(),
        data: data.into(),
        headers: vec![header.clone()],
        message_id: id.into(),
    };
    let want = [("one", "import-1"), ("two", "import-2"), ("three", "import-3")];
    assert_eq!(sent, want.map(|(data, id)| message(data, id)));
}

#[tokio::test]
async fn json_lines_have_subjects_and_ids_of_their_own() {
    let lines = "{\"subject\":\"a\",\"data\":\"one\",\"message_id\":\"1\"}\n\
                 {\"subject\":\"b\",\"data\":{\"base64\":\"/w==\"}}\n";
    let (run, sent) = publish("--json -q --print-offsets=json", lines, at).await;
    let place =
        |record| format!(r#"{{"record":{record},"stream":"ORDERS","sequence":{}}}"#, record + 6) + "\n";
    run.is(0, &[1, 2].map(place).concat(), "");
    let sent: Vec<_> = sent.iter().map(|m| (&*m.subject, &m.data[..], &*m.message_id)).collect();
    assert_eq!(sent, [("a", &b"one"[..], "1"), ("b", b"\xFF", "")]);
}

#[tokio::test]
async fn message_needs_a_subject_and_an_id_of_its_own() {
    for (args, input, why) in [
        ("-J", "{\"subject\":\"a\"}\n{}\n", "record 2: a message without a subject"),
        (
            "--subject a --message-id x",
            "one\ntwo\n",
            "failed to read record 2: --message-id without %n is for a single message\n",
        ),
    ] {
        let (run, sent) = publish(args, input, |_| Published::default()).await;
        run.tells(2, "", &[why]);
        assert_eq!(sent.len(), 1);
    }
}

/// The result of the message with this number.
fn at(number: usize) -> Published {
    Published { sequence: i64::try_from(number).unwrap() + 7, ..Published::default() }
}

/// Runs `produce --stream ORDERS` with this input. Returns the messages, whose number in their command decides the
/// result.
async fn publish(
    args: &str,
    input: &str,
    result: impl Fn(usize) -> Published + Send + 'static,
) -> (Run, Vec<PublishMessage>) {
    let (sender, sent) = oneshot::channel();
    let url = server::serve(async move |mut session: Session| {
        let mut sent = Vec::new();
        while let Some((sequence, request)) = session.request().await {
            let Req::CmdNatsPublish(publish) = request else { panic!("{request:?}") };
            let results = (0..publish.messages.len()).map(|number| result(sent.len() + number)).collect();
            session.answer(sequence, Resp::NatsPublishResp(NatsPublishResp { results })).await;
            sent.extend(publish.messages);
        }
        sender.send(sent).unwrap();
    })
    .await;
    let run = feed(&url, &format!("produce --stream ORDERS {args}"), input).await;
    (run, sent.await.unwrap())
}
