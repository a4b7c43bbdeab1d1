//! Reads a partition from its start to its end, and tells how fast: `walk SERVERS TOPIC [PARTITION [MAX_BYTES]]`.

use std::collections::BTreeMap;
use std::error::Error;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use sluicegate_fair_share::ClientKey;
use sluicegate_reader::{Config, DEFAULT_MAX_BYTES, EncoderPool, Reader};
use sluicegate_shared_log::{Fetch, LOG_END, LOG_START, Limits, Log, SharedLog};

#[tokio::main(flavor = "current_thread")]
#[expect(clippy::print_stdout, reason = "a program whose purpose is its output")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let (servers, topic) = args.next().zip(args.next()).ok_or("expected SERVERS and TOPIC")?;
    let partition = args.next().map_or(Ok(0), |arg| arg.parse())?;
    let max_bytes = args.next().map_or(Ok(DEFAULT_MAX_BYTES), |arg| arg.parse())?;
    let properties = BTreeMap::from([("bootstrap.servers".to_owned(), servers)]);
    let config = Config::from_properties(&properties).map_err(|problems| format!("{problems:?}"))?;

    let logs = SharedLog::new(Limits { max_bytes: 1 << 26, max_age: Duration::from_secs(30) });
    let reader = Reader::new(config, logs.add_cluster(), EncoderPool::new());
    let log = Log { topic: &topic, partition };
    let asked = [(log, LOG_START), (log, LOG_END)];
    let ends: BTreeMap<usize, _> = reader.list_offsets(ClientKey::default(), &asked, false).collect().await;
    let mut ends = ends.into_values();
    let (Some(first), Some(end)) = (ends.next(), ends.next()) else { return Err("no ends".into()) };
    let (mut offset, end) = (first?.offset, end?.offset);
    let started = Instant::now();
    let (mut count, mut bytes, mut calls) = (0_usize, 0_usize, 0_usize);
    while offset < end {
        let fetch = Fetch {
            offset,
            max_bytes,
            wait: Duration::ZERO,
            min_bytes: 0,
            max_records: 0,
            fill: false,
            committed: false,
            decode: false,
            source: ClientKey::default(),
        };
        let fetched = reader.fetch(log, fetch, &(), &mut ()).await?;
        offset = fetched.next_offset;
        count = count.saturating_add(fetched.count);
        bytes = bytes.saturating_add(fetched.messages.len());
        calls = calls.saturating_add(1);
    }
    let seconds = started.elapsed().as_secs_f64();
    println!("{count} records, {bytes} bytes in {calls} calls and {seconds:.3} s, up to offset {offset}");
    println!("{:.0} records/s, {:.1} MB/s", count as f64 / seconds, bytes as f64 / seconds / 1e6);
    Ok(())
}
