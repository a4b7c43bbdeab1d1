//! `produce`: sends the records of an input until each is acknowledged or rejected; [`once`](mod@once) also over several runs.

mod ledger;
mod once;
mod pieces;
mod places;
mod record;

use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use sluicegate_client::nats::PublishMessage;
use sluicegate_client::{Client, ProduceRecord, RecordError};
use tokio::fs::File;
use tokio::io::AsyncRead;
use tokio::time::sleep;

use crate::args::{Name, Produce};
use crate::failure::{Failure, Interrupt};
use crate::progress::Progress;
use crate::refusal;
use crate::stderr::{printable, say};
use crate::stdout::Stdout;
pub(crate) use once::run as once;
use pieces::Pieces;
use places::Places;
use record::{Acknowledged, Outcomes, Record};

pub(crate) async fn run(
    args: &Produce,
    quiet: bool,
    client: &Client,
    stdout: &mut Stdout,
    interrupt: &mut Interrupt,
) -> Result<(), Failure> {
    let mut tally = Tally::default();
    let start = Instant::now();
    let outcome = match args.target.name() {
        Name::Topic(topic) => {
            let mut places = Places::new(args, topic, stdout);
            let sent = send_all::<ProduceRecord>(args, topic, quiet, client, &mut tally, &mut places);
            interrupt.unless(sent).await
        }
        Name::Stream(stream) => {
            let mut places = Places::new(args, stream, stdout);
            let sent = send_all::<PublishMessage>(args, stream, quiet, client, &mut tally, &mut places);
            interrupt.unless(sent).await
        }
    };
    if !quiet {
        say(tally.summary(start.elapsed()));
    }
    outcome?;
    if tally.acknowledged == tally.sent { Ok(()) } else { Err(Failure::Unacknowledged) }
}

/// The number of records by outcome.
#[derive(Debug, Default)]
struct Tally {
    sent: u64,
    acknowledged: u64,
    /// Of those that were acknowledged.
    duplicates: u64,
    failed: u64,
    retry_reported: bool,
    errors_printed: u32,
}

/// The records of one command, with their numbers in the input.
struct Batch<R> {
    records: Vec<(u64, R)>,
    /// Bytes of input.
    bytes: usize,
    /// When they were first rejected.
    refused: Option<Instant>,
}

impl<R> Batch<R> {
    fn new() -> Self {
        Self { records: Vec::new(), bytes: 0, refused: None }
    }
}

async fn send_all<R: Record>(
    args: &Produce,
    name: &str,
    quiet: bool,
    client: &Client,
    tally: &mut Tally,
    places: &mut Places<'_>,
) -> Result<(), Failure> {
    let (input, len) = open(args, quiet).await?;
    let mut pieces = Pieces::new(input, if args.json { b"\n" } else { &args.delimiter });
    let mut progress = Progress::of_input(len, quiet, args.print_offsets.is_some());
    let (mut number, mut done, mut more) = (0_u64, 0_u64, true);
    let mut running = FuturesUnordered::new();
    let mut failure = None;
    loop {
        while more && running.len() < IN_FLIGHT {
            let (batch, wrong) = fill::<R>(args, name, &mut pieces, &mut number, tally, &progress);
            if let Some(wrong) = wrong {
                failure = Some(wrong);
                more = false;
            }
            if batch.records.is_empty() {
                break;
            }
            tally.sent = tally.sent.saturating_add(u64::try_from(batch.records.len()).unwrap_or(u64::MAX));
            running.push(send(client, batch, Duration::ZERO));
        }
        if !more && running.is_empty() {
            return failure.map_or(Ok(()), Err);
        }
        tokio::select! {
            biased;
            Some((batch, outcome)) = running.next() => {
                done = done.saturating_add(u64::try_from(batch.bytes).unwrap_or(u64::MAX));
                match outcome {
                    Ok(outcomes) => {
                        if let Some((again, pause)) = tally.add(batch, outcomes, places, &progress) {
                            running.push(send(client, again, pause));
                        }
                        if let Err(why) = places.print().await {
                            more = false;
                            failure.get_or_insert(why);
                        }
                    }
                    Err(why) => {
                        more = false;
                        failure.get_or_insert(Failure::Command(why));
                    }
                }
                progress.at(done, format_args!("{} acknowledged", tally.acknowledged));
            }
            read = pieces.read(), if more && running.len() < IN_FLIGHT => match read {
                Ok(true) => {}
                // The rest is the last record.
                Ok(false) => {
                    let (batch, wrong) = fill::<R>(args, name, &mut pieces, &mut number, tally, &progress);
                    failure = failure.or(wrong);
                    more = false;
                    if !batch.records.is_empty() {
                        tally.sent = tally.sent.saturating_add(1);
                        running.push(send(client, batch, Duration::ZERO));
                    }
                }
                Err(why) => {
                    more = false;
                    failure.get_or_insert(why);
                }
            },
        }
    }
}

/// The input, and its length if known.
async fn open(args: &Produce, quiet: bool) -> Result<(Box<dyn AsyncRead + Unpin>, Option<u64>), Failure> {
    let Some(path) = &args.file else {
        if !quiet && std::io::stdin().is_terminal() {
            say("% reading records from the terminal, Ctrl-D ends them");
        }
        return Ok((Box::new(tokio::io::stdin()), None));
    };
    let refused = |why: std::io::Error| Failure::Input(format!("{}: {why}", path.display()));
    let file = File::open(path).await.map_err(refused)?;
    let len = file.metadata().await.map_err(refused)?.len();
    Ok((Box::new(file), Some(len)))
}

/// The records read so far, up to a command's bounds, and the error of the one after them. Records larger than a
/// message fail here: the gateway would close the session over them.
fn fill<R: Record>(
    args: &Produce,
    name: &str,
    pieces: &mut Pieces,
    number: &mut u64,
    tally: &mut Tally,
    progress: &Progress,
) -> (Batch<R>, Option<Failure>) {
    let mut batch = Batch::new();
    while batch.records.len() < BATCH_RECORDS {
        let Some(piece) = pieces.next() else { break };
        if !batch.records.is_empty() && batch.bytes.saturating_add(piece.len()) > BATCH_BYTES {
            pieces.put_back(piece);
            break;
        }
        *number = number.saturating_add(1);
        match R::read(args, name, *number, &piece) {
            Ok(record) if record.message_len() > args.max_message_bytes => {
                let (len, max) = (record.message_len(), args.max_message_bytes);
                tally.refuse(
                    *number,
                    &format!("a message of {len} bytes: expected at most {max} (--max-message-bytes)"),
                    progress,
                );
            }
            Ok(record) => {
                batch.bytes = batch.bytes.saturating_add(pieces.extent(&piece));
                batch.records.push((*number, record));
            }
            Err(why) => return (batch, Some(Failure::Input(format!("record {number}: {why}")))),
        }
    }
    (batch, None)
}

async fn send<R: Record>(client: &Client, batch: Batch<R>, pause: Duration) -> (Batch<R>, Outcomes) {
    if !pause.is_zero() {
        sleep(pause).await;
    }
    let records: Vec<R> = batch.records.iter().map(|(_, record)| record.clone()).collect();
    let outcomes = R::write(client, records).await;
    (batch, outcomes)
}

impl Tally {
    /// Counts the outcomes of `batch`. Returns the records to retry, and the pause before that.
    fn add<R>(
        &mut self,
        batch: Batch<R>,
        outcomes: Vec<Result<Acknowledged, RecordError>>,
        places: &mut Places<'_>,
        progress: &Progress,
    ) -> Option<(Batch<R>, Duration)> {
        let refused = batch.refused.unwrap_or_else(Instant::now);
        let mut again = Batch { refused: Some(refused), ..Batch::new() };
        let mut pause = Duration::ZERO;
        for ((number, record), outcome) in batch.records.into_iter().zip(outcomes) {
            match outcome {
                Ok(acknowledged) => {
                    self.acknowledged = self.acknowledged.saturating_add(1);
                    let is_duplicate = u64::from(acknowledged.is_duplicate);
                    self.duplicates = self.duplicates.saturating_add(is_duplicate);
                    places.add(number, acknowledged);
                }
                Err(error) if error.retriable && !error.unknown_outcome && refused.elapsed() < RETRY_FOR => {
                    pause = pause.max(error.retry_after.unwrap_or(RETRY));
                    if !std::mem::replace(&mut self.retry_reported, true) {
                        let why = printable(&error.message);
                        progress
                            .suspend(|| say(format_args!("sluicegate: record {number}: {why}, retrying")));
                    }
                    again.records.push((number, record));
                }
                Err(error) => {
                    if !error.unknown_outcome {
                        self.failed = self.failed.saturating_add(1);
                    }
                    self.show(number, &refusal::traced(&error.message, &error.trace_id), progress);
                }
            }
        }
        (!again.records.is_empty()).then_some((again, pause))
    }

    /// Counts a record that cannot be sent.
    fn refuse(&mut self, number: u64, why: &str, progress: &Progress) {
        self.sent = self.sent.saturating_add(1);
        self.failed = self.failed.saturating_add(1);
        self.show(number, why, progress);
    }

    fn show(&mut self, number: u64, why: &str, progress: &Progress) {
        self.errors_printed = self.errors_printed.saturating_add(1);
        if self.errors_printed <= MAX_SHOWN {
            let why = printable(why);
            progress.suspend(|| say(format_args!("sluicegate: record {number}: {why}")));
        } else if self.errors_printed == MAX_SHOWN.saturating_add(1) {
            progress.suspend(|| say("sluicegate: further errors are only counted"));
        }
    }

    fn summary(&self, elapsed: Duration) -> String {
        let Self { sent, acknowledged, duplicates, failed, .. } = self;
        let duplicates =
            if *duplicates > 0 { format!(" ({duplicates} of them duplicates)") } else { String::new() };
        let unknown = sent.saturating_sub(*acknowledged).saturating_sub(*failed);
        let seconds = elapsed.as_secs_f64();
        format!(
            "% {sent} sent, {acknowledged} acknowledged{duplicates}, {failed} failed, {unknown} unknown \
             in {seconds:.1} s"
        )
    }
}

/// The protocol's limit.
const BATCH_RECORDS: usize = 1_000;
/// Larger records are sent alone. Well below the 1 MiB that a gateway accepts by default.
const BATCH_BYTES: usize = 128 * 1024;
/// Commands in flight.
const IN_FLIGHT: usize = 8;
/// Time during which temporarily rejected records are retried.
const RETRY_FOR: Duration = Duration::from_secs(60);
/// The pause before a retry if the server names none.
const RETRY: Duration = Duration::from_secs(1);
/// Errors of single records that are printed.
const MAX_SHOWN: u32 = 10;
