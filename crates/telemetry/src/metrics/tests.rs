//! The metrics as Prometheus sees them, and their reference.

use prometheus_client::encoding::text::encode;
use sluicegate_reference as reference;

use super::*;

/// Metrics with an event of each kind.
fn counted() -> Metrics {
    let metrics = Metrics::default();
    let cluster = metrics.cluster("default");
    cluster.command(Kind::Fetch, Outcome::Unavailable, Duration::from_millis(3));
    cluster.ended(SessionEnd::Drained);
    cluster.http("/topics", 404, Duration::from_millis(3));
    drop(cluster.subscription());
    let brokers = metrics.brokers("default").of(&["Fetch"], &["timed_out"]);
    brokers.requests.requested("Fetch", "timed_out", Duration::from_secs(20));
    brokers.requests.connected(false);
    brokers.watch(|| Some(BrokerStates { connected: 2, idle: 1, failed: 0 }));
    brokers.watch(|| Some(BrokerStates { connected: 1, idle: 0, failed: 1 }));
    cluster.client_fault(SessionError::NotUtf8);
    metrics.refused("secret");
    metrics.writes("default").written(7, Duration::from_millis(2));
    cluster.route(Some(b"/pubsub")).delivered(3, 500);
    cluster.route(Some(b"/pubsub")).hidden(2);
    cluster.lag(70);
    cluster.consumers.lags([(("web".into(), "/kafka".into()), 7)].into());
    metrics.nats("default").of(&["DIRECT.GET"], &["answered"]);
    metrics.lookups("main", &["found", "unanswered"]).looked_up("found", Duration::from_millis(3));
    metrics.decodes("default").failed();
    metrics
}

/// All metrics in Prometheus' text format.
fn shown(metrics: &Metrics) -> String {
    let mut text = String::new();
    encode(&mut text, &metrics.registry(SharedLog::default(), Some(&ExportCounts::default()))).unwrap();
    text
}

/// The values of the samples that begin so.
fn values(metrics: &Metrics, begin: &str) -> Vec<u64> {
    let text = shown(metrics);
    let rows = text.lines().filter(|line| line.starts_with(begin));
    rows.map(|row| row.rsplit_once(' ').unwrap().1.parse().unwrap()).collect()
}

#[test]
fn reference_lists_every_metric() {
    let text = shown(&counted());
    let rows: Vec<Vec<String>> = text.split("# HELP ").skip(1).map(row).collect();
    assert_eq!(rows.len(), 55, "a metric without samples is not shown: {text}");
    let table = reference::table(&["metric", "type", "labels", "meaning"], &rows);
    reference::check("metrics.md", "metrics", &table);
}

/// Of a metric's help, type and first sample in Prometheus' text format.
fn row(text: &str) -> Vec<String> {
    let mut lines = text.lines();
    let (name, help) = lines.next().unwrap().split_once(' ').unwrap();
    let kind = lines.next().unwrap().rsplit_once(' ').unwrap().1;
    let sample = lines.next().unwrap().split_once(' ').unwrap().0;
    let (sample, labels) = sample.split_once('{').unwrap_or((sample, ""));
    let labels = labels.trim_end_matches('}').split(',');
    let labels = labels.filter_map(|label| label.split_once('=')).map(|(label, _)| format!("`{label}`"));
    let shown = if kind == "histogram" { name } else { sample };
    let labels: Vec<String> = labels.filter(|label| label != "`le`").collect();
    vec![format!("`{shown}`"), kind.to_owned(), labels.join(", "), help.trim_end_matches('.').to_owned()]
}

#[test]
fn reference_lists_every_label() {
    let quoted = |words: &[&str]| format!("`{}`", words.join("`, `"));
    let kinds = quoted(&Kind::ALL.map(Kind::label));
    let outcomes = quoted(&Outcome::ALL.map(Outcome::label));
    let list = format!("- `kind` of a command: {kinds}\n- `outcome` of a command: {outcomes}\n");
    reference::check("metrics.md", "labels", &list);
    let failures = WriteFailure::ALL.map(WriteFailure::described);
    let ends = SessionEnd::ALL.map(SessionEnd::described);
    for (region, reasons) in [("write failures", failures.to_vec()), ("session ends", ends.to_vec())] {
        let row = |(label, meaning): (&str, &str)| vec![format!("`{label}`"), meaning.to_owned()];
        let rows: Vec<_> = reasons.into_iter().map(row).collect();
        reference::check("metrics.md", region, &reference::table(&["reason", "meaning"], &rows));
    }
}

#[test]
fn events_are_counted_under_their_labels() {
    let text = shown(&counted());
    for line in [
        r#"sluicegate_commands_total{cluster="default",kind="fetch",outcome="unavailable"} 1"#,
        r#"sluicegate_commands_total{cluster="default",kind="ping",outcome="answered"} 0"#,
        r#"sluicegate_command_duration_seconds_bucket{le="0.005",cluster="default",kind="fetch"} 1"#,
        r#"sluicegate_sessions_ended_total{cluster="default",reason="drained"} 1"#,
        r#"sluicegate_requests_refused_total{reason="secret"} 1"#,
        r#"sluicegate_client_faults_total{cluster="default",reason="not_utf8"} 1"#,
        r#"sluicegate_sessions{cluster="default"} 0"#,
        r#"sluicegate_http_responses_total{cluster="default",route="/topics",status="404"} 1"#,
        r#"sluicegate_http_request_duration_seconds_bucket{le="0.005",cluster="default",route="/topics"} 1"#,
        r#"sluicegate_kafka_requests_total{cluster="default",api="Fetch",outcome="timed_out"} 1"#,
        r#"sluicegate_kafka_request_duration_seconds_bucket{le="30.0",cluster="default",api="Fetch"} 1"#,
        r#"sluicegate_kafka_request_duration_seconds_bucket{le="10.0",cluster="default",api="Fetch"} 0"#,
        r#"sluicegate_kafka_connections_total{cluster="default",outcome="failed"} 1"#,
        r#"sluicegate_kafka_brokers{cluster="default",state="connected"} 3"#,
        r#"sluicegate_kafka_brokers{cluster="default",state="failed"} 1"#,
        r#"sluicegate_write_duration_seconds_bucket{le="0.0025",cluster="default"} 1"#,
        r#"sluicegate_written_records_total{cluster="default"} 1"#,
        r#"sluicegate_written_bytes_total{cluster="default"} 7"#,
        r#"sluicegate_write_failures_total{cluster="default",reason="failed"} 0"#,
        r#"sluicegate_write_queue_records{cluster="default"} 0"#,
        r#"sluicegate_delivered_records_total{cluster="default",gateway_route="/pubsub"} 3"#,
        r#"sluicegate_delivered_bytes_total{cluster="default",gateway_route="/pubsub"} 500"#,
        r#"sluicegate_hidden_records_total{cluster="default",gateway_route="/pubsub"} 2"#,
        r#"sluicegate_schema_lookups_total{registry="main",outcome="found"} 1"#,
        r#"sluicegate_schema_lookups_total{registry="main",outcome="unanswered"} 0"#,
        r#"sluicegate_schema_lookup_duration_seconds_bucket{le="0.005",registry="main"} 1"#,
        r#"sluicegate_decode_failures_total{cluster="default"} 1"#,
        r#"sluicegate_subscription_lag_records_bucket{le="10.0",cluster="default"} 0"#,
        r#"sluicegate_subscription_lag_records_bucket{le="100.0",cluster="default"} 1"#,
    ] {
        assert!(text.contains(line), "{line} in {text}");
    }
}

#[test]
fn groups_with_a_label_are_those_furthest_behind() {
    let metrics = Metrics::default();
    let consumers = metrics.cluster("default").consumers;
    let count = |labels: &str| {
        values(&metrics, &format!("sluicegate_group_lag_records{{cluster=\"default\",gateway_route={labels}"))
    };
    let group = |number: u64| ((format!("g{number}").into(), "/kafka".into()), number);
    consumers.lags((1..=102).map(group).collect());
    assert_eq!(count("\"/kafka\",group=\"g102\"}"), [102]);
    assert_eq!(count("\"/kafka\"").len(), 100);
    assert_eq!(count("\"other\",group=\"other\"}"), [3], "the two that are least behind");
    consumers.lags([group(5)].into());
    assert_eq!(count(""), [5], "the others have left");
}

#[test]
fn routes_with_a_label_are_bounded() {
    let metrics = Metrics::default();
    let cluster = metrics.cluster("default");
    let count = |label: &str| {
        let name = "sluicegate_delivered_records_total";
        values(&metrics, &format!("{name}{{cluster=\"default\",gateway_route=\"{label}"))
    };
    cluster.route(None).delivered(1, 0);
    let long = "/".repeat(101);
    for odd in [&b"/a b"[..], b"/\n", b"/\xff", b"", long.as_bytes()] {
        cluster.route(Some(odd)).delivered(1, 0);
    }
    for path in 0..1000 {
        cluster.route(Some(format!("/{path}").as_bytes())).delivered(1, 0);
        cluster.route(Some(b"/0")).delivered(1, 0);
    }
    assert_eq!(count("none"), [1]);
    assert_eq!(count("/0"), [1001]);
    let labelled = count("/").len() as u64;
    assert!(labelled < 100, "{labelled}");
    assert_eq!(count("other"), [5 + 1000 - labelled]);
}

#[test]
fn concurrent_first_clients_do_not_exceed_the_routes_with_a_label() {
    let metrics = Metrics::default();
    let cluster = metrics.cluster("default");
    let begin = std::sync::Barrier::new(8);
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let (cluster, begin) = (&cluster, &begin);
            scope.spawn(move || {
                begin.wait();
                for path in 0..200 {
                    cluster.route(Some(format!("/{thread}/{path}").as_bytes()));
                }
            });
        }
    });
    assert_eq!(values(&metrics, "sluicegate_delivered_records_total{").len(), 100 + 1);
}
