//! Ctrl-C, and readers that have had enough.

use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::Child;

use crate::kafka;
use crate::program::{code, start};

#[tokio::test]
async fn ctrl_c_ends_a_read_with_a_summary_that_tells_where_to_go_on() {
    let mut child = start(&kafka::serve().await, &["fetch", "orders", "-p", "0", "--follow"]);
    // All five are out, and the program waits for a sixth.
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    for _ in 0..5 {
        lines.next_line().await.unwrap().unwrap();
    }
    let stderr = interrupt(child).await;
    assert!(stderr.starts_with("% 5 messages, 20 bytes in "), "{stderr}");
    assert!(stderr.ends_with(" s; go on with --from 5\n"), "{stderr}");
}

#[tokio::test]
async fn ctrl_c_works_while_nobody_empties_the_pipe() {
    let mut child = start(&kafka::serve().await, &["fetch", "endless", "-p", "0"]);
    // An answer holds sixteen times what a pipe does: with its first byte here, the program waits for a reader.
    let mut stdout = child.stdout.take().unwrap();
    stdout.read_u8().await.unwrap();
    let stderr = interrupt(child).await;
    assert!(stderr.starts_with("% 0 messages, "), "{stderr}");
}

#[tokio::test]
async fn ctrl_c_ends_a_ping_with_its_summary() {
    let mut child = start(&kafka::serve().await, &["ping", "-i", "60"]);
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut text = String::new();
    stdout.read_line(&mut text).await.unwrap();
    assert_eq!(interrupt(child).await, "");
    stdout.read_to_string(&mut text).await.unwrap();
    assert!(text.contains("1 sent, 1 answered"), "{text}");
}

#[tokio::test]
async fn a_reader_that_has_had_enough_ends_the_program_without_a_word() {
    for args in [&["fetch", "endless", "-p", "0"][..], &["ping", "-i", "0.001"]] {
        let mut child = start(&kafka::serve().await, args);
        let mut stdout = child.stdout.take().unwrap();
        stdout.read_u8().await.unwrap();
        drop(stdout);
        let output = child.wait_with_output().await.unwrap();
        assert_eq!((code(output.status), output.stderr), (Some(0), vec![]), "{args:?}");
    }
}

/// Presses Ctrl-C and gives what the program said, once it has ended with 130.
async fn interrupt(child: Child) -> String {
    let pid = Pid::from_raw(child.id().unwrap().try_into().unwrap()).unwrap();
    kill_process(pid, Signal::INT).unwrap();
    let output = child.wait_with_output().await.unwrap();
    assert_eq!(code(output.status), Some(130), "{output:?}");
    String::from_utf8(output.stderr).unwrap()
}
