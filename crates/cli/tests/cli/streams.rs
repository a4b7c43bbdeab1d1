//! Streams of NATS: `--stream` of every command that has it.

use std::process::Stdio;

use sluicegate_protocol::nats_source::From;
use sluicegate_protocol::pub_sub_req::Req;
use sluicegate_protocol::pub_sub_resp::Resp;
use sluicegate_protocol::{
    CmdNatsSubscribe, ErrorResp, Header, NatsPublishResp, NatsSource, OnLag, PublishMessage, Published,
    RecordFilter,
};
use tokio::io::AsyncWriteExt as _;
use tokio::sync::oneshot;

use crate::nats::{delivery, message, play};
use crate::program::{Run, command, run};
use crate::server::{self, Session};

#[tokio::test]
async fn stream_is_read_from_the_position_to_its_end() {
    for (from, stdout) in [
        ("", "v3\nv4\nv6\n"),
        (" -o earliest", "v3\nv4\nv6\n"),
        (" -o 5", "v6\n"),
        (" -o -2", "v6\n"),
        (" -o s@4000", "v4\nv6\n"),
        (" -o latest", ""),
        (" -o 0 -c 2", "v3\nv4\n"),
    ] {
        let stderr =
            if from.contains("-c") { "" } else { "% Reached end of ORDERS at sequence 7: exiting\n" };
        check(&format!("fetch --stream ORDERS{from}"), 0, stdout, stderr).await;
    }
}

#[tokio::test]
async fn format_and_json_have_the_fields_of_messages() {
    check(
        r"fetch --stream ORDERS -c 1 -f %t@%o,%T:%k(%K)=%s(%S)[%h]\n",
        0,
        "ORDERS@3,3000:a.3(3)=v3(2)[h=1]\n",
        "",
    )
    .await;
    let line = |sequence| {
        format!(
            "{{\"stream\":\"ORDERS\",\"sequence\":{sequence},\"timestamp\":{sequence}000,\"subject\":\"a.{sequence}\",\
             \"data\":\"v{sequence}\",\"headers\":[{{\"key\":\"h\",\"value\":\"1\"}}]}}\n"
        )
    };
    check("fetch --stream ORDERS -J -q", 0, &[3, 4, 6].map(line).concat(), "").await;
}

#[tokio::test]
async fn sequences_are_listed() {
    for (args, stdout) in [
        ("", "ORDERS earliest 3 latest 7\n"),
        (" --at max-timestamp", "ORDERS sequence 6\n"),
        (" --at 50000", "ORDERS sequence -1\n"),
        (" -J", "{\"stream\":\"ORDERS\",\"earliest\":3,\"latest\":7}\n"),
        (" -J --at 4000", "{\"stream\":\"ORDERS\",\"sequence\":4}\n"),
    ] {
        check(&format!("list-offsets --stream ORDERS{args}"), 0, stdout, "").await;
    }
}

#[tokio::test]
async fn rejected_read_has_the_servers_text() {
    let stderr = "sluicegate: failed to list sequence, stream: GONE, err: stream not found\n";
    check("list-offsets --stream GONE", 1, "", stderr).await;
    check("fetch --stream GONE", 1, "", stderr).await;
    let stderr = "sluicegate: failed to fetch message, stream: ORDERS, err: out of range; 3 to 7 can be fetched from\n";
    check("fetch --stream ORDERS -o 8", 1, "", stderr).await;
}

#[tokio::test]
async fn follow_and_subscribe_wait_for_messages() {
    let stderr =
        "% Reached end of ORDERS at sequence 7\n% Skipped sequences 7 to 8 of ORDERS: behind the log end\n";
    check("fetch --stream ORDERS --follow -c 4", 0, "v3\nv4\nv6\nv9\n", stderr).await;
    check("subscribe --stream ORDERS -c 1", 0, "v9\n", stderr).await;
    check("subscribe --stream ORDERS -o -1 -c 2 -q", 0, "v6\nv9\n", "").await;
}

#[tokio::test]
async fn options_are_those_of_the_command() {
    let (asked, command) = oneshot::channel();
    let url = server::serve(async |mut session: Session| {
        let (sequence, command) = session.request().await.unwrap();
        asked.send(command).unwrap();
        session.answer(sequence, Resp::ErrorResp(ErrorResp::default())).await;
    })
    .await;
    let options = "subscribe --stream A --stream B -o 7 --subject a.b --subject c --subject-prefix d. -r h=1 \
                   --linger 0.25 --on-lag skip -q";
    run(&url, &options.split_whitespace().collect::<Vec<_>>()).await;
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
    let url = server::serve(async |mut session: Session| {
        let (sequence, _) = session.request().await.unwrap();
        for stream in ["A", "B"] {
            session.answer(sequence, delivery(stream, vec![message(3)])).await;
        }
        let message = "stream was deleted".into();
        session.answer(sequence, Resp::ErrorResp(ErrorResp { message, ..Default::default() })).await;
    })
    .await;
    let run = run(&url, &["subscribe", "--stream", "A", "--stream", "B", "-f", r"%t %o\n"]).await;
    assert_eq!((run.code, &*run.stdout), (Some(1), "A 3\nB 3\n"), "{run:?}");
    let rest = run.stderr.split_once('\n').unwrap().1;
    let want = "% continue with --stream A --from 4\n% continue with --stream B --from 4\n\
                sluicegate: stream was deleted\n";
    assert_eq!(rest, want);
}

#[tokio::test]
async fn lines_are_published_with_numbered_ids() {
    let args = "--subject a.b --message-id import-%n -r h=1";
    let (run, sent) = publish(args, "one\ntwo\n", |number| Published {
        sequence: 7,
        duplicate: number == 1,
        ..Published::default()
    })
    .await;
    assert_eq!((run.code, &*run.stdout), (Some(0), ""), "{run:?}");
    assert!(
        run.stderr.starts_with("% 2 sent, 2 acknowledged (1 of them duplicates), 0 failed, 0 unknown in "),
        "{run:?}"
    );
    let header = Header { key: "h".into(), value: Some("1".into()) };
    let message = |data: &'static str, id: &str| PublishMessage {
        stream: "ORDERS".into(),
        subject: "a.b".into(),
        data: data.into(),
        headers: vec![header.clone()],
        message_id: id.into(),
    };
    assert_eq!(sent, [message("one", "import-1"), message("two", "import-2")]);
}

#[tokio::test]
async fn json_lines_have_subjects_and_ids_of_their_own() {
    let lines = "{\"subject\":\"a\",\"data\":\"one\",\"message_id\":\"1\"}\n\
                 {\"subject\":\"b\",\"data\":{\"base64\":\"/w==\"}}\n";
    let (run, sent) = publish("--json -q", lines, |_| Published::default()).await;
    assert_eq!((run.code, &*run.stderr), (Some(0), ""), "{run:?}");
    let sent: Vec<_> = sent.iter().map(|m| (&*m.subject, &m.data[..], &*m.message_id)).collect();
    assert_eq!(sent, [("a", &b"one"[..], "1"), ("b", b"\xFF", "")]);
}

#[tokio::test]
async fn message_needs_a_subject() {
    let (run, sent) = publish("-J", "{\"subject\":\"a\"}\n{}\n", |_| Published::default()).await;
    assert_eq!((run.code, sent.len()), (Some(2), 1), "{run:?}");
    assert!(run.stderr.contains("record 2: a message without a subject"), "{run:?}");
}

#[tokio::test]
async fn one_id_is_for_one_message() {
    let (run, sent) = publish("--subject a --message-id x", "one\ntwo\n", |_| Published::default()).await;
    assert_eq!((run.code, sent.len()), (Some(2), 1), "{run:?}");
    let stderr = "sluicegate: failed to read record 2: --message-id without %n is for a single message\n";
    assert!(run.stderr.ends_with(stderr), "{run:?}");
}

#[tokio::test]
async fn sequences_of_acknowledged_messages_are_printed() {
    let at = |number| Published { sequence: i64::try_from(number).unwrap() + 7, ..Published::default() };
    let (run, _) = publish("--subject a --print-offsets", "one\ntwo\n", at).await;
    assert_eq!((run.code, &*run.stdout), (Some(0), "1 ORDERS sequence 7\n2 ORDERS sequence 8\n"), "{run:?}");
    let (run, _) = publish("--subject a --print-offsets=json", "one\n", at).await;
    assert_eq!(run.stdout, "{\"record\":1,\"stream\":\"ORDERS\",\"sequence\":7}\n");
}

#[tokio::test]
async fn rejected_messages_are_named() {
    let message = "no such subject".to_owned();
    let error = ErrorResp { message, ..Default::default() };
    let refuse = move |_| Published { error: Some(error.clone()), ..Default::default() };
    let (run, _) = publish("--subject a", "one\n", refuse).await;
    assert_eq!(run.code, Some(1), "{run:?}");
    let stderr = "sluicegate: record 1: no such subject\n% 1 sent, 0 acknowledged, 1 failed, 0 unknown in ";
    assert!(run.stderr.starts_with(stderr), "{run:?}");
}

#[tokio::test]
async fn older_server_is_named_as_the_problem() {
    for (args, name) in [
        ("fetch --stream ORDERS", "list sequences"),
        ("fetch --stream ORDERS --follow -o 3", "list sequences"),
        ("subscribe --stream ORDERS", "subscribe to streams"),
    ] {
        let url = server::serve(async |mut session: Session| {
            while let Some((sequence, _)) = session.request().await {
                let message = "unknown command".into();
                session.answer(sequence, Resp::ErrorResp(ErrorResp { message, ..Default::default() })).await;
            }
        })
        .await;
        let run = run(&url, &args.split(' ').collect::<Vec<_>>()).await;
        let stderr =
            format!("sluicegate: failed to run the command {name}: the server does not support it\n");
        assert_eq!((run.code, run.stderr), (Some(1), stderr), "{args}");
    }
}

/// Runs against the stream `ORDERS` and compares everything; `args` are split at spaces.
async fn check(args: &str, code: i32, stdout: &str, stderr: &str) {
    let url = server::serve(play).await;
    let run = run(&url, &args.split(' ').collect::<Vec<_>>()).await;
    assert_eq!((run.code, &*run.stdout, &*run.stderr), (Some(code), stdout, stderr), "sluicegate {args}");
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
    let args: Vec<&str> = ["produce", "--stream", "ORDERS"].into_iter().chain(args.split(' ')).collect();
    let mut child = command(&url, &args).stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).await.unwrap();
    let output = child.wait_with_output().await.unwrap();
    let run = Run {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    };
    (run, sent.await.unwrap())
}
