//! Ctrl-C, and readers that pause or close the output.

use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio::process::Child;

use super::*;

#[tokio::test]
async fn ctrl_c_ends_a_read_and_says_where_to_continue() {
    for args in [
        &["fetch", "orders", "-p", "0", "--follow"][..],
        &["subscribe", "orders", "-p", "0", "--from", "earliest"],
    ] {
        let mut child = command(&kafka::serve().await, args).spawn().unwrap();
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let mut text = String::new();
        stderr.read_line(&mut text).await.unwrap();
        assert_eq!(text, "% Reached end of orders [0] at offset 5\n");
        interrupt(child).await;
        text.clear();
        stderr.read_to_string(&mut text).await.unwrap();
        assert!(text.starts_with("% 5 messages, 20 bytes in "), "{text}");
        assert!(text.ends_with(" s; continue with --from 5\n"), "{text}");
    }
}

#[tokio::test]
async fn ctrl_c_ends_a_write_and_says_what_was_acknowledged() {
    let (retried, is_retried) = oneshot::channel();
    let url = server::serve(async |mut session: Session| {
        let (sequence, _) = session.request().await.unwrap();
        let busy = ErrorResp { retriable: true, retry_after_ms: 1, ..ErrorResp::default() };
        let results = [None, Some(busy)].map(|error| Produced { error, ..Produced::default() }).to_vec();
        session.answer(sequence, Resp::KafkaProduceResp(KafkaProduceResp { results })).await;
        // The retry proves that the answer is counted.
        session.request().await.unwrap();
        retried.send(()).unwrap();
        session.request().await;
    })
    .await;
    let mut child = command(&url, &["produce", "orders"]).stdin(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(b"one\ntwo\nthr").await.unwrap();
    is_retried.await.unwrap();
    let stderr = interrupt(child).await;
    assert!(stderr.contains("% 2 sent, 1 acknowledged, 0 failed, 1 unknown in "), "{stderr}");
}

#[tokio::test]
async fn ctrl_c_ends_a_blocked_write() {
    let mut child = command(&kafka::serve().await, &["fetch", "endless", "-p", "0"]).spawn().unwrap();
    // An answer is sixteen times the size of a pipe: once its first byte is here, the program waits for a reader.
    let mut stdout = child.stdout.take().unwrap();
    stdout.read_u8().await.unwrap();
    let stderr = interrupt(child).await;
    assert!(stderr.starts_with("% 0 messages, "), "{stderr}");
}

#[tokio::test]
async fn ctrl_c_ends_a_ping_with_its_summary() {
    let mut child = command(&kafka::serve().await, &["ping", "-i", "60"]).spawn().unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut text = String::new();
    stdout.read_line(&mut text).await.unwrap();
    assert_eq!(interrupt(child).await, "");
    stdout.read_to_string(&mut text).await.unwrap();
    assert!(text.contains("1 sent, 1 answered"), "{text}");
}

#[tokio::test]
async fn closed_output_ends_the_program_silently() {
    for args in [&["fetch", "endless", "-p", "0"][..], &["ping", "-i", "0.001"]] {
        let mut child = command(&kafka::serve().await, args).spawn().unwrap();
        let mut stdout = child.stdout.take().unwrap();
        stdout.read_u8().await.unwrap();
        drop(stdout);
        let output = child.wait_with_output().await.unwrap();
        assert_eq!((output.status.code(), output.stderr), (Some(0), vec![]), "{args:?}");
    }
}

#[tokio::test]
async fn slow_reader_keeps_the_session_open() {
    let (stuck, writing) = oneshot::channel();
    let (answered, pong) = oneshot::channel();
    let url = server::serve(async |mut session: Session| {
        let (sequence, _) = session.request().await.unwrap();
        let results = vec![ListedOffset { offset: i64::MAX, ..Default::default() }];
        session.answer(sequence, Resp::KafkaListOffsetsResp(KafkaListOffsetsResp { results })).await;
        let (sequence, _) = session.request().await.unwrap();
        session.answer(sequence, Resp::KafkaFetchResp(kafka::endless(0))).await;
        writing.await.unwrap();
        session.send(Message::Ping("alive?".into())).await;
        answered.send(session.message().await).unwrap();
    })
    .await;
    let mut child = command(&url, &["fetch", "endless", "-p", "0", "--from", "0"]).spawn().unwrap();
    // Once the first byte is here, the program is writing the rest, which is more than a pipe holds.
    child.stdout.as_mut().unwrap().read_u8().await.unwrap();
    stuck.send(()).unwrap();
    assert_eq!(pong.await.unwrap(), Some(Message::Pong("alive?".into())));
}

/// Sends Ctrl-C, expects exit code 130, and returns standard error.
async fn interrupt(child: Child) -> String {
    signal(child, Signal::INT, 130).await
}

/// Sends a signal, expects this exit code, and returns standard error.
pub(crate) async fn signal(child: Child, signal: Signal, code: i32) -> String {
    let pid = Pid::from_raw(child.id().unwrap().try_into().unwrap()).unwrap();
    kill_process(pid, signal).unwrap();
    let output = child.wait_with_output().await.unwrap();
    assert_eq!(output.status.code(), Some(code), "{output:?}");
    String::from_utf8(output.stderr).unwrap()
}
