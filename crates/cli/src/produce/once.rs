//! `produce --producer`: writes each record of an input once, over as many runs as it takes.

use std::time::{Duration, Instant};

use bytes::Bytes;
use sluicegate_client::{Client, ProduceRecord, Reason, RecordError, Store, WriteError, Writer};

use super::ledger::{Hash, Ledger, Mark};
use super::pieces::Pieces;
use super::places::Places;
use super::record::{Acknowledged, Record as _};
use super::{Tally, open};
use crate::args::{Name, Produce};
use crate::failure::{Failure, Interrupt};
use crate::progress::Progress;
use crate::refusal;
use crate::stderr::say;
use crate::stdout::Stdout;

pub(crate) async fn run(
    args: &Produce,
    quiet: bool,
    url: &str,
    client: Client,
    stdout: &mut Stdout,
    interrupt: &mut Interrupt,
) -> Result<(), Failure> {
    let (Some(path), Name::Topic(topic)) = (&args.producer, args.target.name()) else { return Ok(()) };
    let ledger = Ledger::open(path, url, topic, quiet).map_err(Failure::Settings)?;
    let before = ledger.entries.done.records;
    let account = ledger.account().map_err(Failure::Start)?;
    let writer = client.writer(topic, account, ledger).give_up_after(PATIENCE);
    let (places, progress) = (Places::new(args, topic, stdout), Progress::of_input(None, true, false));
    let mut run = Run { args, topic, writer, tally: Tally::default(), places, progress };
    let start = Instant::now();
    let outcome = interrupt.unless(run.all(quiet)).await;
    if !quiet {
        say(format_args!("{}; {before} done by earlier runs", run.tally.summary(start.elapsed())));
        if matches!(outcome, Err(Failure::Command(_) | Failure::Interrupted)) {
            say("% the same command writes the rest");
        }
    }
    outcome?;
    let refused = run.writer.store_mut().entries.refused;
    let _ = tokio::time::timeout(crate::CLOSE_TIMEOUT, run.writer.close()).await;
    match refused {
        0 => Ok(()),
        _ => {
            if run.tally.failed == 0 && !quiet {
                say(format_args!("% {refused} were refused by earlier runs"));
            }
            Err(Failure::Unacknowledged)
        }
    }
}

struct Run<'a> {
    args: &'a Produce,
    topic: &'a str,
    writer: Writer<Ledger>,
    tally: Tally,
    places: Places<'a>,
    progress: Progress,
}

/// An input, hashed as it is read.
struct Input {
    pieces: Pieces,
    hash: Hash,
    bytes: u64,
}

impl Run<'_> {
    async fn all(&mut self, quiet: bool) -> Result<(), Failure> {
        let (reader, len) = open(self.args, quiet).await?;
        let pieces = Pieces::new(reader, if self.args.json { b"\n" } else { &self.args.delimiter });
        let mut input = Input { pieces, hash: Hash::new(self.args), bytes: 0 };
        self.progress = Progress::of_input(len, quiet, self.args.print_offsets.is_some());
        let done = self.writer.store_mut().entries.done.clone();
        while input.hash.records() < done.records {
            let piece = input.pieces.wait().await?.ok_or_else(changed)?;
            input.take(&piece);
            self.progress.at(input.bytes, "done by earlier runs");
        }
        input.check(&done)?;
        let end = loop {
            let first = input.hash.records();
            let unfinished = self.writer.account().unfinished();
            let (records, wrong) = self.read(&mut input, unfinished).await?;
            if unfinished > 0 {
                let begun = self.writer.store_mut().entries.begun.clone();
                input.check(&begun)?;
            }
            if !records.is_empty() {
                self.write(first, &records, input.hash.mark()).await?;
                let acknowledged = self.tally.acknowledged;
                self.progress.at(input.bytes, format_args!("{acknowledged} acknowledged"));
            }
            if let Some(wrong) = wrong {
                break Err(wrong);
            } else if records.is_empty() {
                break Ok(());
            }
        };
        let account = self.writer.account().clone();
        self.writer.store_mut().save(&account).map_err(|why| not_saved(&why))?;
        end
    }

    /// The records of the next write, and the error of the piece behind them. Those of an unfinished write are all read,
    /// otherwise those that have arrived.
    async fn read(
        &self,
        input: &mut Input,
        unfinished: usize,
    ) -> Result<(Vec<ProduceRecord>, Option<Failure>), Failure> {
        let (mut records, mut size) = (Vec::new(), 0_usize);
        let most = if unfinished > 0 { unfinished } else { WRITE_RECORDS };
        while records.len() < most {
            let piece = match unfinished > 0 || records.is_empty() {
                true => input.pieces.wait().await?,
                false => input.pieces.next(),
            };
            let Some(piece) = piece else { break };
            size = size.saturating_add(piece.len());
            if unfinished == 0 && !records.is_empty() && size > WRITE_BYTES {
                input.pieces.put_back(piece);
                break;
            }
            let number = input.hash.records().saturating_add(1);
            match ProduceRecord::read(self.args, self.topic, number, &piece) {
                Ok(record) => records.push(record),
                Err(why) => return Ok((records, Some(Failure::Input(format!("record {number}: {why}"))))),
            }
            input.take(&piece);
        }
        Ok((records, None))
    }

    /// Writes records, which begin behind the `first` ones and end at `end`.
    async fn write(&mut self, first: u64, records: &[ProduceRecord], end: Mark) -> Result<(), Failure> {
        self.writer.store_mut().entries.begun = end.clone();
        let count = u64::try_from(records.len()).unwrap_or(u64::MAX);
        self.tally.sent = self.tally.sent.saturating_add(count);
        let written = self.writer.write(records).await;
        let outcomes = written.map_err(|why| failure(why, first))?;
        let mut refused = 0_u64;
        for (number, outcome) in (first.saturating_add(1)..).zip(outcomes) {
            match outcome {
                Ok(written) => {
                    self.tally.acknowledged = self.tally.acknowledged.saturating_add(1);
                    let is_duplicate = u64::from(written.is_duplicate);
                    self.tally.duplicates = self.tally.duplicates.saturating_add(is_duplicate);
                    self.places.add(number, Acknowledged::from(written));
                }
                Err(RecordError { message, trace_id, unknown_outcome, .. }) => {
                    refused = refused.saturating_add(1);
                    self.tally.failed = self.tally.failed.saturating_add(u64::from(!unknown_outcome));
                    self.tally.show(number, &refusal::traced(&message, &trace_id), &self.progress);
                }
            }
        }
        self.places.print().await?;
        if refused == count {
            // A missing right or topic is no fault of the records.
            return Err(Failure::Unacknowledged);
        }
        let entries = &mut self.writer.store_mut().entries;
        (entries.done, entries.refused) = (end, entries.refused.saturating_add(refused));
        Ok(())
    }
}

impl Input {
    fn take(&mut self, piece: &Bytes) {
        self.hash.add(piece);
        let extent = u64::try_from(self.pieces.extent(piece)).unwrap_or(u64::MAX);
        self.bytes = self.bytes.saturating_add(extent);
    }

    /// Checks that all before this place is as it was.
    fn check(&self, mark: &Mark) -> Result<(), Failure> {
        if mark.records == 0 || *mark == self.hash.mark() { Ok(()) } else { Err(changed()) }
    }
}

fn changed() -> Failure {
    Failure::Settings(
        "the input or the options differ from those that the producer's file began with: use another file for another input"
            .into(),
    )
}

fn not_saved(why: &std::io::Error) -> Failure {
    Failure::Settings(format!("the producer's file: {why}"))
}

/// The failure of a write of records behind the `first` ones.
fn failure(why: WriteError, first: u64) -> Failure {
    match why {
        WriteError::Save(why) => not_saved(&why),
        WriteError::Failed(error) => Failure::Command(error),
        WriteError::Account { partition, records, error } => {
            let number = |index: &usize| {
                first.saturating_add(1).saturating_add(u64::try_from(*index).unwrap_or(u64::MAX))
            };
            let [from, to] =
                [records.first(), records.last()].map(|index| index.map(number).unwrap_or_default());
            let advice = match error.reason {
                Reason::Fenced => "a copy of the producer's file was used: go on with that one",
                _ => {
                    "look in the topic whether an earlier run wrote them, and write the others with another file"
                }
            };
            let message = refusal::traced(&error.message, &error.trace_id);
            let count = records.len();
            Failure::Untold(format!(
                "{count} of the records {from} to {to}, in partition {partition}: {message}; {advice}"
            ))
        }
        other => Failure::Settings(other.to_string()),
    }
}

/// Records of a write, and their bytes. The file is written once for each.
const WRITE_RECORDS: usize = 4_000;
const WRITE_BYTES: usize = 1024 * 1024;
/// The time without an answer after which the command fails.
const PATIENCE: Duration = Duration::from_mins(1);
