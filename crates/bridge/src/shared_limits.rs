//! All limits that clients share, with who loses when one is full, and the test that attacks it.

use sluicegate_reference as reference;

/// A limit, who loses, and the file and name of its test.
type Row = [&'static str; 4];

const SHARED_LIMITS: &[Row] = &[
    [
        "`limits.max_sessions`",
        "the cluster, then the client above its share: 503",
        "crates/bridge/tests/bridge/endpoint.rs",
        "greedy_client_leaves_sessions_to_others",
    ],
    [
        "`limits.max_calls`",
        "the cluster, then the client above its share: 503",
        "crates/bridge/tests/bridge/http/permits.rs",
        "greedy_source_leaves_permits_to_others",
    ],
    [
        "`route_clusters.max`",
        "the client that was the first to use more than its share: 503",
        "crates/bridge/src/clusters/tests.rs",
        "client_with_many_clusters_leaves_some_to_others",
    ],
    [
        "`limits.max_connections`",
        "the HTTP/1.1 connection idle longest; if none is idle, the newcomer waits",
        "crates/bridge/tests/bridge/http1.rs",
        "new_connection_replaces_the_longest_idle_one",
    ],
    [
        "64 connections to `admin_listen`",
        "the address (or /48) that has most: its oldest one",
        "crates/bridge/tests/bridge/admin.rs",
        "probes_answer_beside_idle_and_slow_connections",
    ],
    [
        "waiting HTTP reads and streams of events",
        "the cluster, then the client above its share: an answer at once, or 503",
        "crates/bridge/tests/bridge/http/permits.rs",
        "waiting_reads_over_http1_leave_connections_to_others",
    ],
    [
        "10,000 people who left and are remembered, for their quotas",
        "the one who left first: begins anew",
        "crates/delivery/src/quota/people.rs",
        "person_who_left_first_is_forgotten_first",
    ],
    [
        "a cluster's queue of records to write",
        "the client above its share: 429, or `retriable` in a session",
        "crates/backend/src/write_queue.rs",
        "greedy_source_leaves_bytes_and_records_to_a_newcomer",
    ],
    [
        "the turn to write after a rejected record, of a Kafka cluster",
        "clients take turns",
        "lab/e2e/tests/writing/rejected.rs",
        "records_without_a_key_do_not_fail_those_of_others",
    ],
    [
        "1,000 clients (or /48) with a rejected record in 10 s, of a Kafka cluster",
        "the one whose last one is oldest: its records share batches again",
        "crates/kafka/src/writer/suspects.rs",
        "oldest_suspect_is_forgotten_first",
    ],
    [
        "8 MiB of records that were selected by rows, of a cluster",
        "the oldest ones: each client selects its own",
        "crates/delivery/src/selections/tests.rs",
        "memory_is_bounded_and_freed",
    ],
    [
        "8 MiB of lines that wait for the audit log",
        "the address that has most: its new lines",
        "crates/telemetry/src/audit/tests.rs",
        "flood_of_one_source_drops_no_line_of_another",
    ],
    [
        "`read.cache_bytes`",
        "the cluster that holds most: its oldest records, which are then read again",
        "crates/shared-log/src/shared_log/tests.rs",
        "cluster_that_reads_much_loses_its_own_chunks",
    ],
    [
        "`read.table_bytes`",
        "the cluster that holds most: its largest table, which is then read again",
        "crates/delivery/src/cluster/tables/limits.rs",
        "largest_table_of_the_largest_cluster_is_dropped",
    ],
    [
        "a quarter of `read.table_bytes` more, for keys that clients have",
        "the cluster, then the client above its share: its table ends",
        "crates/delivery/src/held_keys.rs",
        "greedy_client_leaves_room_for_keys_of_others",
    ],
    [
        "8 parts of logs that are read into new tables",
        "clients take turns",
        "crates/delivery/src/cluster/tables/limits.rs",
        "client_with_many_tables_leaves_turns_to_others",
    ],
    [
        "`max_assembly_bytes`, in filter or bridge",
        "a client above ⅛, then the largest holder: its oldest message (1013)",
        "crates/ws-session/src/budget/tests.rs",
        "newcomer_takes_from_the_source_that_holds_most",
    ],
    [
        "200,000 frames in 100 ms, of the filter in one worker",
        "the client above its share: its sessions that send many at once (1013)",
        "wasm/src/frame_rate.rs",
        "greedy_client_leaves_frames_to_others",
    ],
    [
        "100,000 requests of sessions a second and core; large ones count more",
        "the cluster, then the client above its share: read on after up to 0.1 s",
        "crates/bridge/src/session/tests/turns.rs",
        "requests_of_one_client_leave_some_of_each_turn_to_others",
    ],
    [
        "2,000 topics that wait for a metadata request, of a Kafka cluster",
        "the client above its share: its other topics wait for a later request",
        "lab/e2e/alone/load/questions.rs",
        "lookups_of_missing_topics_delay_nobody",
    ],
    [
        "10,000 topics with known leaders, of a Kafka cluster",
        "the 1,000 topics that were asked for longest ago: the next read asks again",
        "crates/reader/src/metadata_cache/tests.rs",
        "oldest_topics_are_evicted",
    ],
    [
        "10,000 topics with known errors, of a Kafka cluster",
        "all other errors, never a topic without one: the next read asks again",
        "crates/reader/src/metadata_cache/tests.rs",
        "invalid_names_evict_no_topic",
    ],
    [
        "one list of all topics in 100 ms, of a Kafka cluster",
        "nobody: all that wait share the next list",
        "crates/reader/tests/reads/topics.rs",
        "concurrent_callers_share_one_request",
    ],
    [
        "2,000 partitions whose ends are asked of a broker together",
        "the client above its share: its other partitions wait for a later request",
        "lab/e2e/alone/load/questions.rs",
        "ends_of_many_partitions_cost_few_requests",
    ],
    [
        "50,000 partitions a second in each waiting fetch from a broker",
        "partitions without a record for 2 s: their next one comes later",
        "crates/reader/tests/reads/crowd.rs",
        "crowd_of_logs_is_not_listed_for_each_record",
    ],
    [
        "64 reads at a broker that ask it for records, until these are encoded",
        "the client above its share: clients take turns",
        "crates/reader/tests/reads/places.rs",
        "reads_of_one_client_leave_places_to_others",
    ],
    [
        "16 clients and logs that are read ahead, of a Kafka cluster",
        "the client above its share: its next answer is read when it asks",
        "crates/reader/src/reader/read_ahead.rs",
        "client_that_reads_many_logs_ahead_leaves_places_to_others",
    ],
    [
        "8 reads of slow logs at a broker, also after their clients have left",
        "the client above its share: clients take turns",
        "crates/reader/tests/reads/cold.rs",
        "fetch_keeps_its_place_when_its_client_leaves",
    ],
    [
        "2 reads in 10 s that others wait behind for 50 ms, of a client at a broker",
        "the client: all its reads there count as slow for the rest of the 10 s",
        "crates/reader/tests/reads/cold.rs",
        "client_that_reads_many_slow_partitions_delays_no_other",
    ],
    [
        "1,000 logs that are known to be slow, of a broker",
        "the one whose last slow read is the oldest: the next one finds out again",
        "crates/reader/src/slow_logs.rs",
        "oldest_log_makes_room_for_another",
    ],
    [
        "1,000 clients behind whose reads others waited, of a broker",
        "the one whose 10 s began first: it can make others wait again",
        "crates/reader/src/stalls.rs",
        "clients_are_bounded",
    ],
    [
        "2 requests to a Kafka broker that search for records by time",
        "clients take turns",
        "crates/reader/tests/reads/searches.rs",
        "searches_of_one_client_leave_turns_to_others",
    ],
    [
        "one fetch at a time after a throttle time of a Kafka broker",
        "clients take turns",
        "crates/reader/tests/reads/quotas.rs",
        "clients_take_turns_after_a_throttle_time",
    ],
    [
        "the threads that encode large batches: half of the cores",
        "clusters take turns, and so do a cluster's clients",
        "crates/reader/src/encoder_pool/tests.rs",
        "large_answers_take_turns_and_small_ones_wait_for_none",
    ],
    [
        "48 reads of a NATS cluster, 8 of streams without `allow_direct`",
        "the client above its share: clients take turns, up to `request.timeout.ms`",
        "crates/nats/src/tests/reads.rs",
        "reads_without_an_answer_leave_places_to_others",
    ],
    [
        "60,000 answers that a connection to NATS expects",
        "later requests: they wait up to `request.timeout.ms`",
        "crates/nats/src/tests/reads.rs",
        "reads_without_an_answer_leave_places_to_others",
    ],
    [
        "16 consumers that read ahead in streams, of a NATS cluster",
        "the client above its share: direct gets, which cost more",
        "crates/nats/src/walk.rs",
        "client_with_many_walks_leaves_some_to_others",
    ],
    [
        "1,000 consumers at the ends of streams, of a NATS cluster",
        "later streams, for all who wait there: polled, every 2 s at worst",
        "crates/nats/src/tail.rs",
        "stream_beyond_the_consumers_is_polled",
    ],
    [
        "10,000 known streams, of a NATS cluster",
        "the stream that was asked longest ago: the next read asks again",
        "crates/nats/src/streams.rs",
        "stream_that_was_asked_longest_ago_is_forgotten_first",
    ],
    [
        "64 MiB a second and core of records that filters or rows leave out or reads skip",
        "the cluster, then the client above its share: it goes on in the next second",
        "crates/delivery/src/cluster/tests.rs",
        "skips_of_one_client_leave_some_of_each_second_to_others",
    ],
    [
        "1,000 ranges of skipped records, of a Kafka cluster",
        "the range that grew longest ago: the next read there skips it again",
        "crates/reader/src/skip_cache.rs",
        "full_cache_drops_the_range_that_was_extended_longest_ago",
    ],
    [
        "250,000 partitions a second and core that are described",
        "the cluster, then the client above its share: it goes on in the next second",
        "crates/delivery/src/cluster/metadata.rs",
        "descriptions_of_one_client_leave_some_of_each_second_to_others",
    ],
    [
        "50,000 partitions of encoded descriptions, of a Kafka cluster",
        "topics that were described longest ago: they are encoded again",
        "crates/kafka/src/descriptions.rs",
        "wide_topics_leave_the_descriptions_that_others_use",
    ],
    [
        "1,000 traced spans a second",
        "the client above its share of a second: it is not traced",
        "crates/backend/src/rate.rs",
        "greedy_client_leaves_some_of_each_second_to_others",
    ],
    [
        "4,096 spans that wait for the collector",
        "later spans of any client: they are dropped and counted",
        "crates/telemetry/src/traces/export.rs",
        "spans_beyond_the_queue_are_dropped_and_counted",
    ],
];

#[test]
fn reference_lists_every_shared_limit_with_a_test() {
    let row = |[limit, loser, file, test]: &Row| {
        reference::check_test(file, test);
        vec![(*limit).to_owned(), (*loser).to_owned(), format!("`{test}`")]
    };
    let rows: Vec<_> = SHARED_LIMITS.iter().map(row).collect();
    let table = reference::table(&["limit", "who loses when it is full", "test"], &rows);
    reference::check("bridge-configuration.md", "shared limits", &table);
}

#[test]
fn security_model_names_the_test_of_each_attack() {
    let page = include_str!("../../../docs/explanation/security-model.md");
    let (_, rows) = page.split_once("| attack | what holds | test |\n|---|---|---|\n").unwrap();
    let rows: Vec<&str> = rows.lines().take_while(|line| line.starts_with('|')).collect();
    assert!(rows.len() > 20, "{rows:?}");
    for row in rows {
        let link = row.strip_suffix(") |").and_then(|row| row.rsplit_once(" | ["));
        let (test, file) = link.and_then(|(_, link)| link.split_once("](../../")).expect(row);
        let code = test.strip_prefix('`').and_then(|test| test.strip_suffix('`'));
        reference::check_test(file, code.unwrap_or(test));
    }
}
