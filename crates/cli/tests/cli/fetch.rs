//! `sluicegate fetch`.

use crate::kafka;
use crate::program::{check, run};

#[tokio::test]
async fn messages_are_read_from_the_position_to_the_log_end() {
    for (from, stdout) in [
        ("", "v0\nv1\nv2\nv3\nv4\n"),
        (" --from earliest", "v0\nv1\nv2\nv3\nv4\n"),
        (" -o beginning", "v0\nv1\nv2\nv3\nv4\n"),
        (" --from 3 -e", "v3\nv4\n"),
        (" --offset 4", "v4\n"),
        (" -o -2", "v3\nv4\n"),
        (" -o -100", "v0\nv1\nv2\nv3\nv4\n"),
        (" -o s@1500", "v2\nv3\nv4\n"),
        (" -o s@1970-01-01T00:00:03Z", "v3\nv4\n"),
        (" -o s@1000000", ""),
        (" --from latest", ""),
        (" -o end", ""),
        (" -o 5", ""),
    ] {
        let stderr = "% Reached end of orders [0] at offset 5: exiting\n";
        check(&format!("fetch orders -p 0{from}"), 0, stdout, stderr).await;
    }
}

#[tokio::test]
async fn count_ends_the_read() {
    check("fetch orders -p 0 -c 1", 0, "v0\n", "").await;
    check("fetch orders -p 0 --from 1 --count 4", 0, "v1\nv2\nv3\nv4\n", "").await;
    check("fetch orders -q -p 0 --from 3 -c 9", 0, "v3\nv4\n", "").await;
}

#[tokio::test]
async fn follow_continues_after_the_log_end() {
    let stderr = "% Reached end of growing [0] at offset 2\n";
    check("fetch growing -p 0 --follow -c 5", 0, "v0\nv1\nv2\nv3\nv4\n", stderr).await;
    check("fetch growing --follow -q -c 3 -o -1", 0, "v1\nv2\nv3\n", "").await;
    check("fetch growing -p 0 -q", 0, "v0\nv1\n", "").await;
}

#[tokio::test]
async fn follow_reads_each_partition_on_an_older_server() {
    let url = kafka::serve_older().await;
    let run = run(&url, &["fetch", "growing", "--follow", "-c", "5"]).await;
    assert_eq!((run.code, run.stderr.as_str()), (Some(0), ""), "{run:?}");
    assert_eq!(run.stdout, "v0\nv1\nv2\nv3\nv4\n");
}

#[tokio::test]
async fn read_ends_after_transaction_markers() {
    let stderr = "% Reached end of markers [0] at offset 4: exiting\n";
    check("fetch markers -p 0", 0, "v0\nv1\n", stderr).await;
}

#[tokio::test]
async fn stalled_read_below_the_log_end_fails() {
    let stderr = "sluicegate: failed to read behind [0] to its log end 4: no progress within 1s; continue with \
                  -p 0 --from 2\n";
    check("fetch behind -p 0 --timeout 1", 1, "v0\nv1\n", stderr).await;
    check("fetch behind -p 0 --timeout 1 -c 2", 0, "v0\nv1\n", "").await;
}

#[tokio::test]
async fn committed_read_ends_at_the_first_open_transaction() {
    let end = |offset| format!("% Reached end of open [0] at offset {offset}: exiting\n");
    check("fetch open -p 0", 0, "v0\nv1\nv2\nv3\nv4\n", &end(5)).await;
    check("fetch open -p 0 --isolation read_committed", 0, "v0\nv1\nv2\n", &end(3)).await;
    check("fetch open -p 0 --isolation read_committed -o -1", 0, "v2\n", &end(3)).await;
}

#[tokio::test]
async fn committed_read_fails_on_a_server_that_is_too_old() {
    let stderr =
        "sluicegate: failed to read only committed records: the server does not support isolation levels\n";
    let args = ["fetch", "orders", "-p", "0", "--isolation", "read_committed"];
    let run = run(&kafka::serve_older().await, &args).await;
    assert_eq!((run.code, run.stdout.as_str(), run.stderr.as_str()), (Some(1), "", stderr));
}

#[tokio::test]
async fn format_and_delimiters_shape_a_message() {
    for (args, stdout) in [
        (r"-f %t[%p]@%o,%T:%k(%K)=%s(%S)\n", "orders[1]@100,100000:k100(4)=v100(4)\n"),
        (r"-f \x41%%", "A%"),
        ("-K :", "k100:v100\n"),
        (r"-K \t -D \x00", "k100\tv100\0"),
        ("-D ;", "v100;"),
        (
            "--json",
            "{\"topic\":\"orders\",\"partition\":1,\"offset\":100,\"tstype\":\"create\",\"ts\":100000,\"key\":\"k100\",\
             \"payload\":\"v100\"}\n",
        ),
    ] {
        check(&format!("fetch orders -p 1 -c 1 {args}"), 0, stdout, "").await;
    }
}

#[tokio::test]
async fn json_has_bytes_as_base64() {
    let stdout = "{\"topic\":\"bytes\",\"partition\":0,\"offset\":0,\"tstype\":\"create\",\"ts\":0,\
                  \"key\":{\"base64\":\"/w==\"},\"payload\":{\"base64\":\"AP4=\"}}\n";
    check("fetch bytes -p 0 -J -q", 0, stdout, "").await;
}

#[tokio::test]
async fn rejected_read_has_the_servers_text() {
    for (args, stderr) in [
        (
            "orders -p 0 --from 6",
            "fetch message, topic: orders, partition: 0, err: OFFSET_OUT_OF_RANGE; 0 to 5 can be fetched from",
        ),
        ("orders -p 9", "list offset, topic: orders, partition: 9, err: UNKNOWN_TOPIC_OR_PARTITION"),
    ] {
        check(&format!("fetch {args}"), 1, "", &format!("sluicegate: failed to {stderr}\n")).await;
    }
}

#[tokio::test]
async fn temporary_errors_are_retried_and_follow_reports_them() {
    check("fetch moving -p 0 -q", 0, "v0\n", "").await;
    let stderr =
        "% failed to deliver messages, topic: moving, partition: 0, err: NOT_LEADER_OR_FOLLOWER; retrying\n";
    check("fetch moving -p 0 --follow -c 1", 0, "v0\n", stderr).await;
}

#[tokio::test]
async fn all_partitions_are_read_to_their_ends() {
    let url = kafka::serve().await;
    let run = run(&url, &["fetch", "orders", "-f", r"%p %o\n"]).await;
    assert_eq!(run.code, Some(0), "{run:?}");
    let of = |partition: &str| -> Vec<&str> {
        run.stdout.lines().filter_map(|line| line.strip_prefix(partition)).collect()
    };
    assert_eq!(of("0 "), ["0", "1", "2", "3", "4"]);
    assert_eq!(of("1 "), ["100", "101"]);
    assert_eq!(run.stdout.lines().count(), 7);
    let mut ends: Vec<&str> = run.stderr.lines().collect();
    assert!(ends[2].ends_with(": exiting"), "{ends:?}");
    ends.sort_unstable();
    for (line, (partition, end)) in ends.iter().zip([(0, 5), (1, 102), (2, 0)]) {
        let want = format!("% Reached end of orders [{partition}] at offset {end}");
        assert_eq!(line.trim_end_matches(": exiting"), want);
    }
}

#[tokio::test]
async fn position_and_count_hold_over_all_partitions() {
    for (options, count) in [("-o -1", 2), ("-o latest", 0), ("-o s@4000", 3), ("-c 6", 6), ("-c 9", 7)] {
        let url = kafka::serve().await;
        let args: Vec<&str> = ["fetch", "orders", "-q"].into_iter().chain(options.split(' ')).collect();
        let run = run(&url, &args).await;
        assert_eq!((run.code, run.stderr.as_str()), (Some(0), ""), "{options}");
        assert_eq!(run.stdout.lines().count(), count, "{options}: {}", run.stdout);
    }
}

#[tokio::test]
async fn failed_partition_ends_the_read_and_says_where_to_continue() {
    let url = kafka::serve().await;
    let run = run(&url, &["fetch", "orders", "-o", "102"]).await;
    assert_eq!(run.code, Some(1), "{run:?}");
    let (summary, failure) = run.stderr.split_once("sluicegate: ").unwrap();
    assert!(summary.contains("% 0 messages, "), "{run:?}");
    assert!(failure.contains("OFFSET_OUT_OF_RANGE"), "{run:?}");
}
