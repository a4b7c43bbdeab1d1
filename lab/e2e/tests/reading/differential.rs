//! Random logs, read through three bridges and by librdkafka: [`KEPT`] ones, or as many as `just differential` sets.
//!
//! A failure prints the seed of its log; `just differential 1 SEED` repeats it.

mod log;
mod walk;

use std::collections::BTreeSet;

use futures_util::StreamExt;
use futures_util::stream;
use sluicegate_protocol::pub_sub_req::Req;
use sluicegate_protocol::pub_sub_resp::Resp;
use sluicegate_protocol::{CmdKafkaListOffset, CmdKafkaListOffsets, Isolation};
use sluicegate_stack::kafka::{Kafka, Outcome};
use sluicegate_stack::random::Random;
use sluicegate_stack::socket::Socket;
use sluicegate_stack::stack::Stack;
use sluicegate_stack::tools::number;
use sluicegate_stack::way::Way;
use tokio::runtime::Handle;
use tokio::task::spawn_blocking;

use self::log::{FEATURES, Log};
use self::walk::check;
use crate::pool::Config;
use crate::reading::{START, shared, with};

/// Seeds of logs that together have all [`FEATURES`], and of logs that were read wrongly once.
const KEPT: [u64; 8] = [1, 5, 10, 12, 13, 14, 25, 26];
/// At least. A case is a walk from one offset in one isolation level through one bridge.
const CASES_PER_LOG: usize = 24;
/// Records of at most 64 KiB, and batches of at most 512 KiB.
const TIGHT: &str = "\"message.max.bytes\" = 65536\n\"receive.message.max.bytes\" = 524288";
/// Logs that are written while another one is read.
const AHEAD: usize = 3;

struct Bridge {
    name: &'static str,
    socket: Socket,
}

#[tokio::test]
#[expect(clippy::print_stderr, reason = "says how much a long run has compared")]
async fn random_logs_are_read_as_librdkafka_reads_them() {
    let first = number("SLUICEGATE_DIFFERENTIAL_SEED", 0);
    let rounds = number("SLUICEGATE_DIFFERENTIAL_ROUNDS", 0);
    let seeds = match rounds {
        0 => KEPT.to_vec(),
        rounds => (first..).take(usize::try_from(rounds).unwrap()).collect(),
    };
    let (kafka, cached) = shared(Way::Tunnel).await;
    let tight = Config::new(Way::Direct).await.settings("[read]\nmax_bytes = 1024").properties(TIGHT);
    let tight = tight.shared().await;
    let uncached = with("[read]\ncache_bytes = 0").await;
    let mut bridges = Vec::new();
    for (name, stack) in [("cached", &cached), ("tight", &tight), ("uncached", &uncached)] {
        bridges.push(Bridge { name, socket: Socket::open(stack).await });
    }
    let (mut cases, mut covered) = (0, BTreeSet::new());
    // librdkafka's calls block.
    let write = |seed| spawn_blocking(move || Handle::current().block_on(Log::write(kafka, seed)));
    let mut logs = stream::iter(seeds.clone()).map(write).buffered(AHEAD);
    while let Some(log) = logs.next().await {
        let log = log.unwrap();
        cases += compare(kafka, &log, &mut bridges, &mut covered).await;
        covered.extend(&log.features);
        let Log { topic, open, .. } = log;
        if let Some(open) = open {
            open.end(Outcome::Abort).await.unwrap();
        }
        kafka.delete_topic(&topic).await.unwrap();
    }
    assert_eq!(hits(&uncached).await, 0.0);
    assert!(hits(&cached).await > 0.0);
    eprintln!("{cases} cases in {} logs: {covered:?}", seeds.len());
    assert!(cases >= seeds.len() * CASES_PER_LOG, "{cases} cases in {} logs", seeds.len());
    if rounds == 0 {
        assert_eq!(covered, BTreeSet::from(FEATURES));
    }
}

/// Reads that the bridge has answered from memory.
async fn hits(stack: &Stack) -> f64 {
    stack.bridge.count("sluicegate_read_cache_hits_total", "").await.unwrap()
}

/// Reads a log through all bridges. Gives the number of cases.
async fn compare(
    kafka: &Kafka,
    log: &Log,
    bridges: &mut [Bridge],
    covered: &mut BTreeSet<&'static str>,
) -> usize {
    let mut random = Random::new(log.seed);
    let starts = log.starts(&mut random);
    covered.extend(starts.iter().map(|(class, _)| class));
    // For some seconds after records were deleted, Kafka finds no later ones by their times, and then it does.
    let count = if log.start == 0 { TIMES } else { 0 };
    // Also before the first record and after the last one.
    let times: Vec<i64> = (0..count).map(|_| START - 100 + random.below(1_200) as i64).collect();
    let found = kafka.offsets_at(&log.topic, &times);
    let mut cases = 0;
    for Bridge { name, socket } in bridges {
        if log.is_large() && *name == "tight" {
            continue;
        }
        let what = format!("{name}, {}", log.topic);
        assert_eq!(socket.list_offset(&log.topic, 0, -2).await, Ok(log.start), "{what}");
        assert_eq!(socket.list_offset(&log.topic, 0, -1).await, Ok(log.end), "{what}");
        let end = CmdKafkaListOffset { topic: log.topic.clone(), partition: 0, timestamp: -1 };
        let isolation = Isolation::ReadCommitted.into();
        let ends = Req::CmdKafkaListOffsets(CmdKafkaListOffsets { offsets: vec![end], isolation });
        let Resp::KafkaListOffsetsResp(stable) = socket.ask(ends).await else { panic!("{what}: no offsets") };
        assert_eq!(stable.results[0].offset, log.stable, "{what}: {stable:?}");
        for (time, want) in times.iter().zip(&found) {
            assert_eq!(socket.list_offset(&log.topic, 0, *time).await, Ok(*want), "{what} at {time}");
        }
        for (class, offset) in &starts {
            for isolation in [Isolation::ReadUncommitted, Isolation::ReadCommitted] {
                let what = format!("{what} from {offset} ({class}), {isolation:?}");
                check(socket, log, *offset, isolation, &mut random, &what).await;
                cases += 1;
            }
        }
    }
    cases
}

const TIMES: usize = 10;
