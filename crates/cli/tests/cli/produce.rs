//! `sluicegate produce`, with every outcome of a record.

use super::*;

/// Runs `produce orders` with this input against a server played by `part`.
async fn run<F>(args: &str, input: &str, part: impl FnOnce(Session) -> F + Send + 'static) -> Run
where
    F: Future<Output = ()> + Send + 'static,
{
    feed(&server::serve(part).await, &format!("produce orders {args}"), input).await
}

/// The values of the next command's records; none once the program disconnects.
async fn values(session: &mut Session) -> Option<(i64, Vec<String>)> {
    let (sequence, request) = session.request().await?;
    let Req::CmdKafkaProduce(produce) = request else { panic!("{request:?}") };
    let value = |record: ProduceRecord| String::from_utf8(record.value.unwrap().to_vec()).unwrap();
    Some((sequence, produce.records.into_iter().map(value).collect()))
}

async fn answer(session: &mut Session, sequence: i64, errors: Vec<Option<ErrorResp>>) {
    let results = errors.into_iter().map(|error| Produced { error, ..Produced::default() }).collect();
    session.answer(sequence, Resp::KafkaProduceResp(KafkaProduceResp { results })).await;
}

fn error(retriable: bool, unknown_outcome: bool) -> Option<ErrorResp> {
    let message = "not\u{7} now".to_owned();
    Some(ErrorResp { code: 0, message, retriable, retry_after_ms: 50, unknown_outcome, ..Default::default() })
}

#[tokio::test]
async fn temporarily_rejected_records_are_retried() {
    let run = run("--print-offsets", "a\nb\nc\n", async |mut session| {
        let (sequence, sent) = values(&mut session).await.unwrap();
        assert_eq!(sent, ["a", "b", "c"]);
        answer(&mut session, sequence, vec![None, error(true, false), None]).await;
        let (sequence, sent) = values(&mut session).await.unwrap();
        assert_eq!(sent, ["b"]);
        // This time the command fails as a whole.
        session.answer(sequence, Resp::ErrorResp(error(true, false).unwrap())).await;
        let (sequence, sent) = values(&mut session).await.unwrap();
        assert_eq!(sent, ["b"]);
        answer(&mut session, sequence, vec![None]).await;
        assert_eq!(values(&mut session).await, None);
    })
    .await;
    let told = "sluicegate: record 2: not  now, retrying\n% 3 sent, 3 acknowledged, 0 failed, 0 unknown in ";
    assert!(run.stderr.starts_with(told), "{run:?}");
    // A retried record keeps its number.
    run.tells(0, "1 orders [0] offset 0\n3 orders [0] offset 0\n2 orders [0] offset 0\n", &[]);
}

#[tokio::test]
async fn records_that_may_be_written_are_not_retried() {
    let run = run("", "a\nb\n", async |mut session| {
        let (sequence, _) = values(&mut session).await.unwrap();
        answer(&mut session, sequence, vec![error(true, true), error(false, false)]).await;
        assert_eq!(values(&mut session).await, None);
    })
    .await;
    let parts = [
        "sluicegate: record 1: not  now\nsluicegate: record 2: ",
        "% 2 sent, 0 acknowledged, 1 failed, 1 unknown in ",
    ];
    run.tells(1, "", &parts);
}

#[tokio::test]
async fn unanswered_records_are_unknown() {
    let run = run("-D ;", "a;b", async |mut session| {
        // The session ends after one answer.
        let mut known = 0;
        while known < 1 {
            let (sequence, sent) = values(&mut session).await.unwrap();
            known += sent.len();
            answer(&mut session, sequence, vec![None; sent.len()]).await;
        }
        values(&mut session).await;
    })
    .await;
    run.tells(3, "", &["% 2 sent, 1 acknowledged, 0 failed, 1 unknown in "]);
}

/// Answers with these results until the program disconnects. Returns the values of each command.
async fn answer_all(mut session: Session, mut result: impl FnMut() -> Produced) -> Vec<Vec<String>> {
    let mut commands = Vec::new();
    while let Some((sequence, sent)) = values(&mut session).await {
        let results = sent.iter().map(|_| result()).collect();
        session.answer(sequence, Resp::KafkaProduceResp(KafkaProduceResp { results })).await;
        commands.push(sent);
    }
    commands
}

/// The same with these partitions and offsets.
async fn place(session: Session, mut places: impl Iterator<Item = (i32, i64)>) {
    let place = || {
        let (partition, offset) = places.next().unwrap();
        Produced { partition, offset, ..Produced::default() }
    };
    answer_all(session, place).await;
}

#[tokio::test]
async fn offsets_of_acknowledged_records_are_printed() {
    for (option, want) in [
        ("--print-offsets", "1 orders [2] offset 17\n2 orders [0] offset -1\n"),
        (
            "--print-offsets=json",
            "{\"record\":1,\"topic\":\"orders\",\"partition\":2,\"offset\":17}\n\
             {\"record\":2,\"topic\":\"orders\",\"partition\":0,\"offset\":-1}\n",
        ),
    ] {
        let run = run(option, "a\nb\n", |session| place(session, [(2, 17), (0, -1)].into_iter())).await;
        run.tells(0, want, &["% 2 sent, 2 acknowledged, "]);
    }
}

#[tokio::test]
async fn records_are_written_even_if_nobody_reads_their_offsets() {
    let url = server::serve(|session| place(session, (0..).map(|offset| (0, offset)))).await;
    let mut child =
        command(&url, &["produce", "orders", "--print-offsets"]).stdin(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    child.stdin.take().unwrap().write_all("x\n".repeat(20_000).as_bytes()).await.unwrap();
    let output = child.wait_with_output().await.unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success() && stderr.starts_with("% 20000 sent, 20000 acknowledged, "), "{stderr}");
}

/// Runs `produce orders` against a server that writes everything. Returns the values of each command, too.
async fn written(args: &str, input: &str) -> (Run, Vec<Vec<String>>) {
    let (sender, commands) = oneshot::channel();
    let run = run(args, input, async move |session| {
        sender.send(answer_all(session, Produced::default).await).unwrap();
    });
    (run.await, commands.await.unwrap())
}

#[tokio::test]
async fn commands_are_bounded_in_records_and_bytes() {
    let large = "x".repeat(200_000);
    let (run, commands) = written("", &format!("a\n{large}\nb\n")).await;
    assert_eq!(run.code, Some(0), "{run:?}");
    assert_eq!(commands.concat(), ["a", &large, "b"]);
    assert!(commands.contains(&vec![large]), "it has a command of its own");
    let (run, commands) = written("", &"x\n".repeat(5_000)).await;
    run.tells(0, "", &["% 5000 sent, 5000 acknowledged"]);
    assert!(commands.iter().all(|values| (1..=1_000).contains(&values.len())));
}

#[tokio::test]
async fn oversized_record_fails_alone() {
    let large = "x".repeat(4_000);
    let (run, commands) = written("--max-message-bytes 4000", &format!("a\n{large}\nb\n")).await;
    let told = "sluicegate: record 2: a message of 4070 bytes: expected at most 4000 (--max-message-bytes)\n";
    run.tells(1, "", &[told, "% 3 sent, 2 acknowledged, 1 failed, 0 unknown in "]);
    assert_eq!(commands.concat(), ["a", "b"]);
}

#[tokio::test]
async fn records_before_an_invalid_line_are_written() {
    for (input, acknowledged) in [("{\"payload\":1}\n", 0), ("{\"payload\":\"a\"}\nb\n{}\n", 1), ("b", 0)] {
        let (run, _) = written("--json", input).await;
        let summary = format!("% {acknowledged} sent, {acknowledged} acknowledged, 0 failed, 0 unknown in ");
        let failed = format!("\nsluicegate: failed to read record {}: ", acknowledged + 1);
        run.tells(2, "", &[&summary, &failed]);
    }
}

#[tokio::test]
async fn errors_after_the_tenth_are_counted() {
    let run = run("", &"x\n".repeat(20), async |session| {
        answer_all(session, || Produced { error: error(false, false), ..Produced::default() }).await;
    })
    .await;
    assert_eq!(run.code, Some(1), "{run:?}");
    let lines: Vec<&str> = run.stderr.lines().collect();
    assert_eq!((lines.len(), lines[9]), (12, "sluicegate: record 10: not  now"), "{run:?}");
    assert_eq!(lines[10], "sluicegate: further errors are only counted");
    assert!(lines[11].starts_with("% 20 sent, 0 acknowledged, 20 failed, 0 unknown in "), "{run:?}");
}

#[tokio::test]
async fn missing_file_is_exit_code_2() {
    let url = server::serve(async |mut session| assert_eq!(values(&mut session).await, None)).await;
    let run = crate::program::run(&url, "produce -q orders -l /nowhere").await;
    run.tells(2, "", &["sluicegate: failed to read /nowhere: "]);
}

/// Answers each command after 100 ms.
pub(crate) async fn slowly(mut session: Session) {
    while let Some((sequence, sent)) = values(&mut session).await {
        tokio::time::sleep(Duration::from_millis(100)).await;
        answer(&mut session, sequence, vec![None; sent.len()]).await;
    }
}
