//! `sluicegate ping`.

use crate::kafka;
use crate::program::run;

#[tokio::test]
async fn ping_prints_round_trips_and_a_summary() {
    let url = kafka::serve().await;
    let run = run(&url, &["ping", "-c", "3", "-i", "0.01"]).await;
    assert_eq!((run.code, &*run.stderr), (Some(0), ""));
    let lines: Vec<_> = run.stdout.lines().collect();
    assert_eq!(lines.len(), 6, "{lines:?}");
    for (line, seq) in lines.iter().zip(1..=3) {
        assert!(line.starts_with(&format!("pong from {url}: seq={seq} time=")), "{line}");
        assert!(line.ends_with(" ms"), "{line}");
    }
    assert_eq!(lines[3], format!("--- {url} ping statistics ---"));
    assert!(lines[4].starts_with("3 sent, 3 answered, time "), "{}", lines[4]);
    assert!(lines[5].starts_with("rtt min/avg/max/mdev = "), "{}", lines[5]);
}

#[tokio::test]
async fn quiet_ping_prints_the_summary() {
    let url = kafka::serve().await;
    let run = run(&url, &["ping", "-q", "-c", "1"]).await;
    assert_eq!(run.code, Some(0));
    assert!(run.stdout.starts_with("--- "), "{}", run.stdout);
}
