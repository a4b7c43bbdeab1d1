//! `--verbose`.

use crate::kafka;
use crate::program::run;

#[tokio::test]
async fn verbose_reports_connection_and_commands_without_header_values() {
    let url = kafka::serve().await;
    let run =
        run(&url, &["-v", "-H", "Authorization: Bearer s3cret", "list-offsets", "orders", "-p", "0"]).await;
    assert_eq!((run.code, &*run.stdout), (Some(0), "orders [0] earliest 0 latest 5\n"));
    for part in [
        "connected to 127.0.0.1:",
        ", authorization",
        "HTTP 101",
        "sending list offsets 1, ",
        "answered with ",
    ] {
        assert!(run.stderr.contains(part), "{part}: {}", run.stderr);
    }
    assert!(!run.stderr.contains("s3cret"), "{}", run.stderr);
}
