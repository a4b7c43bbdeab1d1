//! Reads of the example topics and of the example stream: all that each invocation prints.

use sluicegate_protocol::kafka_subscription_event::{Event, SnapshotEnd};

use super::*;

#[tokio::test]
async fn fetch_reads_from_its_position_to_the_log_end() {
    let end = "% Reached end of orders [0] at offset 5: exiting\n";
    for (args, stdout, stderr) in [
        ("-p 0", ALL, end),
        ("-p 0 --from 3 -e", "v3\nv4\n", end),
        ("-p 0 -o -2", "v3\nv4\n", end),
        ("-p 0 -o -100", ALL, end),
        ("-p 0 -o s@1500", "v2\nv3\nv4\n", end),
        ("-p 0 --from latest", "", end),
        ("-p 0 --from 1 --count 4", "v1\nv2\nv3\nv4\n", ""),
        ("-q -p 0 --from 3 -c 9", "v3\nv4\n", ""),
    ] {
        kafka(&format!("fetch orders {args}"), 0, stdout, stderr).await;
    }
    let end = "% Reached end of markers [0] at offset 4: exiting\n";
    kafka("fetch markers -p 0", 0, "v0\nv1\n", end).await;
}

#[tokio::test]
async fn follow_continues_after_the_log_end() {
    let end = "% Reached end of growing [0] at offset 2\n";
    kafka("fetch growing -p 0 --follow -c 5", 0, ALL, end).await;
    kafka("fetch growing --follow -q -c 3 -o -1", 0, "v1\nv2\nv3\n", "").await;
    older("fetch growing --follow -c 5", 0, ALL, "").await;
    kafka("fetch moving -p 0 -q", 0, "v0\n", "").await;
    let retrying =
        "% failed to deliver messages, topic: moving, partition: 0, err: NOT_LEADER_OR_FOLLOWER; retrying\n";
    kafka("fetch moving -p 0 --follow -c 1", 0, "v0\n", retrying).await;
}

#[tokio::test]
async fn stalled_read_below_the_log_end_fails() {
    let stderr = "sluicegate: failed to read behind [0] to its log end 4: no progress within 1s; continue with \
                  -p 0 --from 2\n";
    kafka("fetch behind -p 0 --timeout 1", 1, "v0\nv1\n", stderr).await;
    kafka("fetch behind -p 0 --timeout 1 -c 2", 0, "v0\nv1\n", "").await;
}

#[tokio::test]
async fn committed_read_ends_at_the_first_open_transaction() {
    let end = |offset| format!("% Reached end of open [0] at offset {offset}: exiting\n");
    kafka("fetch open -p 0", 0, ALL, &end(5)).await;
    kafka("fetch open -p 0 --isolation read_committed", 0, "v0\nv1\nv2\n", &end(3)).await;
    kafka("fetch open -p 0 --isolation read_committed -o -1", 0, "v2\n", &end(3)).await;
    kafka("list-offsets open --isolation read_committed", 0, "open [0] earliest 0 latest 3\n", "").await;
    let stderr =
        "sluicegate: failed to read only committed records: the server does not support isolation levels\n";
    for args in ["fetch orders -p 0", "list-offsets orders"] {
        older(&format!("{args} --isolation read_committed"), 1, "", stderr).await;
    }
}

#[tokio::test]
async fn format_delimiters_and_json_shape_a_message() {
    for (args, stdout) in [
        (r"-f %t[%p]@%o,%T:%k(%K)=%s(%S)\n", "orders[1]@100,100000:k100(4)=v100(4)\n"),
        (r"-K \t -D \x00", "k100\tv100\0"),
        (
            "--json",
            "{\"topic\":\"orders\",\"partition\":1,\"offset\":100,\"tstype\":\"create\",\"ts\":100000,\"key\":\"k100\",\
             \"payload\":\"v100\"}\n",
        ),
    ] {
        kafka(&format!("fetch orders -p 1 -c 1 {args}"), 0, stdout, "").await;
    }
    let args = r"fetch --stream ORDERS -c 1 -f %t@%o,%T:%k(%K)=%s(%S)[%h]\n";
    nats(args, 0, "ORDERS@3,3000:a.3(3)=v3(2)[h=1]\n", "").await;
    let line = |sequence| {
        format!(
            "{{\"stream\":\"ORDERS\",\"sequence\":{sequence},\"timestamp\":{sequence}000,\"subject\":\"a.{sequence}\",\
             \"data\":\"v{sequence}\",\"headers\":[{{\"key\":\"h\",\"value\":\"1\"}}]}}\n"
        )
    };
    nats("fetch --stream ORDERS -J -q", 0, &[3, 4, 6].map(line).concat(), "").await;
}

#[tokio::test]
async fn values_with_a_schema_are_json_unless_they_are_not_wanted() {
    let line = |rest: &str| {
        format!(r#"{{"topic":"avro","partition":0,"offset":0,"tstype":"create","ts":0,{rest}}}"#) + "\n"
    };
    let decoded = line(
        r#""key":[1],"payload":{"id":1},"value_schema":{"id":7,"type":"AVRO"},"key_schema":{"id":8,"type":"AVRO"}"#,
    );
    let stored = line(r#""key":"k0","payload":"v0""#);
    for (options, stdout) in [
        ("--json", &*decoded),
        ("--json --no-decode", &stored),
        ("-K :", "k0:v0\n"),
        ("--decode -K :", "[1]:{\"id\":1}\n"),
        (r"--decode -f %K\n", "3\n"),
    ] {
        for command in ["fetch avro -q", "fetch avro -q -c 1 --follow", "subscribe avro -q -c 1 -o 0"] {
            kafka(&format!("{command} {options}"), 0, stdout, "").await;
        }
    }
}

#[tokio::test]
async fn filters_leave_out_messages() {
    let decoded = r#"fetch avro -q --decode --filter {"value":"/id"}"#;
    let none = format!(r#"{decoded} --filter {{"value":"/x"}}"#);
    kafka(&none, 0, "", "").await;
    for more in ["", " -c 1 --follow"] {
        kafka(&format!("{decoded}{more}"), 0, "{\"id\":1}\n", "").await;
    }
}

#[tokio::test]
async fn table_has_decoded_values_and_their_schemas() {
    let decoded = kafka::given("avro", kafka::message(0), true);
    let other = KafkaMessage { not_decoded: "value: schema 9 is unknown".into(), ..kafka::message(1) };
    let partitions = vec![PartitionNext { partition: 0, offset: 2 }];
    let topics = vec![SubscribedTopic { topic: "avro".into(), topic_id: "id".into(), partitions }];
    let answers = || {
        vec![
            Resp::KafkaSubscribedResp(KafkaSubscribedResp { topics: topics.clone(), snapshot: true }),
            kafka::delivery("avro", 0, vec![decoded.clone(), other.clone()], 2),
            kafka::event(Event::SnapshotEnd(SnapshotEnd::default())),
            server::failed("over"),
        ]
    };
    let lines = concat!(
        r#"{"key":"k0","value":{"id":1},"timestamp":0,"key_json":[1],"value_schema":{"id":7,"type":"AVRO"},"#,
        r#""key_schema":{"id":8,"type":"AVRO"}}"#,
        "\n",
        r#"{"key":"k1","value":"v1","timestamp":1000,"not_decoded":"value: schema 9 is unknown"}"#,
        "\n{\"complete\":true}\n",
    );
    for (args, code, stdout, stderr) in [
        ("table avro", 1, lines, "sluicegate: over\n"),
        ("table avro --once", 0, "{\"k0\":{\"id\":1},\"k1\":\"v1\"}\n", ""),
    ] {
        let (url, command) = server::tell(answers()).await;
        run(&url, args).await.is(code, stdout, stderr);
        let Req::CmdKafkaSubscribe(command) = command.await.unwrap() else { panic!("{args}") };
        assert!(command.decode, "{args}");
    }
}

#[tokio::test]
async fn all_partitions_are_read_to_their_ends() {
    let read = run(&kafka::serve().await, r"fetch orders -f %p:%o\n").await;
    let sorted = |text: &str| -> Vec<String> {
        let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
        lines.sort_unstable();
        lines
    };
    let of = |partition: &str| -> Vec<&str> {
        read.stdout.lines().filter(|line| line.starts_with(partition)).collect()
    };
    assert_eq!(of("0"), ["0:0", "0:1", "0:2", "0:3", "0:4"], "{read:?}");
    assert_eq!((of("1"), read.stdout.lines().count()), (vec!["1:100", "1:101"], 7));
    let ends = [(0, 5), (1, 102), (2, 0)];
    let ends = ends.map(|(partition, end)| format!("% Reached end of orders [{partition}] at offset {end}"));
    assert_eq!(sorted(&read.stderr.replace(": exiting", "")), ends);
    assert!(read.code == Some(0) && read.stderr.ends_with(": exiting\n"), "{read:?}");
    for (options, count) in [("-o -1", 2), ("-o latest", 0), ("-o s@4000", 3), ("-c 6", 6), ("-c 9", 7)] {
        let run = run(&kafka::serve().await, &format!("fetch orders -q {options}")).await;
        assert_eq!((run.code, &*run.stderr), (Some(0), ""), "{options}");
        assert_eq!(run.stdout.lines().count(), count, "{options}: {}", run.stdout);
    }
}

#[tokio::test]
async fn rejected_read_has_the_servers_text() {
    for (args, what) in [
        (
            "fetch orders -p 0 --from 6",
            "fetch message, topic: orders, partition: 0, err: OFFSET_OUT_OF_RANGE; 0 to 5 can be fetched from",
        ),
        ("fetch orders -p 9", "list offset, topic: orders, partition: 9, err: UNKNOWN_TOPIC_OR_PARTITION"),
        ("list-offsets nothing", "describe topic nothing, err: UNKNOWN_TOPIC_OR_PARTITION"),
        (
            "subscribe orders -p 9 -q",
            "subscribe, topic: orders, partition: 9, err: UNKNOWN_TOPIC_OR_PARTITION",
        ),
    ] {
        kafka(args, 1, "", &format!("sluicegate: failed to {what}\n")).await;
    }
    older("subscribe orders", 1, "", &unsupported("subscribe")).await;
    let missing = "sluicegate: failed to list sequence, stream: GONE, err: stream not found\n";
    nats("list-offsets --stream GONE", 1, "", missing).await;
    let stderr = "sluicegate: failed to fetch message, stream: ORDERS, err: out of range; 3 to 7 can be fetched from (trace_id 4bf9)\n";
    nats("fetch --stream ORDERS -o 8", 1, "", stderr).await;
    for (args, name) in [
        ("fetch --stream ORDERS --follow -o 3", "list sequences"),
        ("subscribe --stream ORDERS", "subscribe to streams"),
    ] {
        run(&server::serve(server::know_nothing).await, args).await.is(1, "", &unsupported(name));
    }
    let run = run(&kafka::serve().await, "fetch orders -o 102").await;
    run.tells(1, "", &["% 0 messages, ", "sluicegate: ", "OFFSET_OUT_OF_RANGE"]);
}

fn unsupported(command: &str) -> String {
    format!("sluicegate: failed to run the command {command}: the server does not support it\n")
}

#[tokio::test]
async fn offsets_are_listed_for_one_partition_or_all() {
    let all = "orders [0] earliest 0 latest 5\norders [1] earliest 100 latest 102\norders [2] earliest 0 latest 0\n";
    for (args, stdout) in [
        ("orders", all),
        ("orders -p 1", "orders [1] earliest 100 latest 102\n"),
        ("orders -p 1 --at beginning", "orders [1] offset 100\n"),
        ("orders --at latest", "orders [0] offset 5\norders [1] offset 102\norders [2] offset 0\n"),
        ("orders -p 0 --at 1970-01-01T00:00:02.5Z", "orders [0] offset 3\n"),
        ("orders -p 0 --at -5m", "orders [0] offset -1\n"),
        ("orders -p 0 --at max-timestamp", "orders [0] offset 4\n"),
        ("orders -p 0 -J", "{\"topic\":\"orders\",\"partition\":0,\"earliest\":0,\"latest\":5}\n"),
        ("orders -p 0 -J --at latest", "{\"topic\":\"orders\",\"partition\":0,\"offset\":5}\n"),
    ] {
        kafka(&format!("list-offsets {args}"), 0, stdout, "").await;
    }
    older("list-offsets orders", 0, all, "").await;
    older("list-offsets orders -p 1 --at 50000", 0, "orders [1] offset 100\n", "").await;
    let missing = "list offset, topic: nothing, partition: 0, err: UNKNOWN_TOPIC_OR_PARTITION";
    older("list-offsets nothing", 1, "", &format!("sluicegate: failed to {missing}\n")).await;
    for (args, stdout) in [
        ("", "ORDERS earliest 3 latest 7\n"),
        (" --at max-timestamp", "ORDERS sequence 6\n"),
        (" --at 50000", "ORDERS sequence -1\n"),
        (" -J", "{\"stream\":\"ORDERS\",\"earliest\":3,\"latest\":7}\n"),
        (" -J --at 4000", "{\"stream\":\"ORDERS\",\"sequence\":4}\n"),
    ] {
        nats(&format!("list-offsets --stream ORDERS{args}"), 0, stdout, "").await;
    }
}

#[tokio::test]
async fn stream_is_read_from_the_position_to_its_end() {
    let end = "% Reached end of ORDERS at sequence 7: exiting\n";
    for (from, stdout, stderr) in [
        ("", "v3\nv4\nv6\n", end),
        (" -o -2", "v6\n", end),
        (" -o s@4000", "v4\nv6\n", end),
        (" -o latest", "", end),
        (" -o 0 -c 2", "v3\nv4\n", ""),
    ] {
        nats(&format!("fetch --stream ORDERS{from}"), 0, stdout, stderr).await;
    }
    let stderr =
        "% Reached end of ORDERS at sequence 7\n% Skipped sequences 7 to 8 of ORDERS: behind the log end\n";
    nats("fetch --stream ORDERS --follow -c 4", 0, "v3\nv4\nv6\nv9\n", stderr).await;
    nats("subscribe --stream ORDERS -c 1", 0, "v9\n", stderr).await;
    nats("subscribe --stream ORDERS -o -1 -c 2 -q", 0, "v6\nv9\n", "").await;
}

#[tokio::test]
async fn subscription_prints_the_messages_of_all_topics() {
    let stdout = "orders 0 3\norders 0 4\norders 1 100\norders 1 101\nopen 0 3\n";
    let stderr = "% Reached end of orders [0] at offset 5\n% Reached end of orders [1] at offset 102\n\
                  % Reached end of orders [2] at offset 0\n";
    let format = r"%t\x20%p\x20%o\n";
    kafka(&format!("subscribe orders open -o -2 -c 5 -f {format}"), 0, stdout, stderr).await;
    kafka("subscribe orders -q -o s@3000 -p 0 -c 2", 0, "v3\nv4\n", "").await;
    kafka("subscribe orders markers -q -o beginning -p 0 -c 6", 0, &format!("{ALL}v0\n"), "").await;
    // It begins at the end, and waits.
    let end = "% Reached end of growing [0] at offset 2\n";
    kafka("subscribe growing -c 3", 0, "v2\nv3\nv4\n", end).await;
}

#[tokio::test]
async fn verbose_reports_connection_and_commands_without_header_values() {
    let args = "-v -H Authorization:Bearer-s3cret list-offsets orders -p 0";
    let run = run(&kafka::serve().await, args).await;
    let parts = [
        "connected to 127.0.0.1:",
        ", authorization",
        "HTTP 101",
        "sending list offsets 1, ",
        "answered with ",
    ];
    run.tells(0, "orders [0] earliest 0 latest 5\n", &parts);
    assert!(!run.stderr.contains("s3cret"), "{}", run.stderr);
}

#[tokio::test]
async fn ping_prints_round_trips_and_a_summary() {
    let url = kafka::serve().await;
    let ping = run(&url, "ping -c 3 -i 0.01").await;
    assert_eq!((ping.code, &*ping.stderr), (Some(0), ""));
    let lines: Vec<_> = ping.stdout.lines().collect();
    assert_eq!((lines.len(), lines[3]), (6, &*format!("--- {url} ping statistics ---")), "{lines:?}");
    for (line, seq) in lines.iter().zip(1..=3) {
        let start = format!("pong from {url}: seq={seq} time=");
        assert!(line.starts_with(&start) && line.ends_with(" ms"), "{line}");
    }
    assert!(lines[4].starts_with("3 sent, 3 answered, time "), "{}", lines[4]);
    assert!(lines[5].starts_with("rtt min/avg/max/mdev = "), "{}", lines[5]);
    let quiet = run(&kafka::serve().await, "ping -q -c 1").await;
    assert!(quiet.code == Some(0) && quiet.stdout.starts_with("--- "), "{quiet:?}");
}

async fn kafka(args: &str, code: i32, stdout: &str, stderr: &str) {
    check(kafka::serve().await, args, code, stdout, stderr).await;
}

async fn older(args: &str, code: i32, stdout: &str, stderr: &str) {
    check(kafka::serve_older().await, args, code, stdout, stderr).await;
}

async fn nats(args: &str, code: i32, stdout: &str, stderr: &str) {
    check(server::serve(nats::play).await, args, code, stdout, stderr).await;
}

async fn check(url: String, args: &str, code: i32, stdout: &str, stderr: &str) {
    let run = run(&url, args).await;
    assert_eq!((run.code, &*run.stdout, &*run.stderr), (Some(code), stdout, stderr), "sluicegate {args}");
}

/// The values of partition 0 of `orders`.
const ALL: &str = "v0\nv1\nv2\nv3\nv4\n";
