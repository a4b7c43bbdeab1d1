//! Writes with a producer, whose repeats Kafka recognizes, and the partitions of records before they are written.

use std::time::Duration;

use sluicegate_protocol as wire;
use sluicegate_protocol::pub_sub_req::Req;
use sluicegate_protocol::pub_sub_resp::Resp;
use sluicegate_protocol::{CmdKafkaProduce, ProduceRecord};

use crate::answer::mismatch;
use crate::produce::outcome;
use crate::{Client, Error, RecordError, Written};

/// A writer as Kafka counts its records, and the place of a command among them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Producer {
    /// 1 to 256 bytes. On routes without an identity, anyone who knows it can write as this producer.
    pub id: String,
    /// 0 to 32,767. A later epoch begins at sequence 0, and ends the earlier ones.
    pub epoch: u16,
    /// The number of records that the producer has written to the partition in this epoch, up to 2,147,483,646: the
    /// sequence of the first record. The others count on.
    pub sequence: u32,
    /// The time since the first record was first sent; zero if no try may have written it.
    pub age: Duration,
}

impl Client {
    /// Writes `records` of one partition, as [`produce`](Self::produce) does, but each once however often the call is
    /// repeated with the same [`Producer`], over any connection. Either all are written or none. The partition is that
    /// which the records name, or their keys have.
    ///
    /// A [`Writer`](crate::Writer) counts and repeats by itself.
    ///
    /// # Cancel safety
    /// The records may or may not have been sent; a repeat with the same producer tells.
    ///
    /// # Errors
    /// [`Error::TooLarge`]: nothing was written. [`Error::ProducersUnsupported`]: all were written, and a repeat would write
    /// them again. Otherwise [`Error`], but not [`Error::Command`]: a repeat with the same producer tells.
    pub async fn produce_once(
        &self,
        records: Vec<ProduceRecord>,
        producer: &Producer,
    ) -> Result<Vec<Result<Written, RecordError>>, Error> {
        let count = records.len();
        let command = CmdKafkaProduce { records, producer: Some(producer.to_wire()), dry_run: false };
        let results = self.write(Req::CmdKafkaProduce(command), count, results).await?;
        // Older servers ignore the producer.
        match results.iter().flatten().any(|written| written.duplicate_window.is_none()) {
            true => Err(Error::ProducersUnsupported { written: ", and has written the records without it" }),
            false => Ok(results),
        }
    }

    /// Checks `records` and chooses the partition of each, without writing them. Their keys are enough for the partitions,
    /// values are checked, too. Records without a key take turns.
    ///
    /// Servers that do not know producers would write them: see [`check_producers`](Self::check_producers).
    ///
    /// # Cancel safety
    /// Nothing is written.
    ///
    /// # Errors
    /// [`Error`], but not [`Error::Command`]. [`Error::ProducersUnsupported`]: the records were written.
    pub async fn place(&self, records: Vec<ProduceRecord>) -> Result<Vec<Result<i32, RecordError>>, Error> {
        let count = records.len();
        let command = CmdKafkaProduce { records, producer: None, dry_run: true };
        let results = self.write(Req::CmdKafkaProduce(command), count, results).await?;
        match results.iter().flatten().any(|written| written.offset.is_some()) {
            true => Err(Error::ProducersUnsupported { written: ", and has written the records" }),
            false => Ok(results.into_iter().map(|result| result.map(|written| written.partition)).collect()),
        }
    }

    /// Checks that the server knows producers and dry runs, without writing anything.
    ///
    /// # Cancel safety
    /// Nothing is written.
    ///
    /// # Errors
    /// [`Error::ProducersUnsupported`] if it does not; otherwise [`Error`].
    pub async fn check_producers(&self) -> Result<(), Error> {
        let invalid = Producer { id: String::new(), epoch: 0, sequence: 0, age: Duration::ZERO };
        let producer = Some(invalid.to_wire());
        let command = Req::CmdKafkaProduce(CmdKafkaProduce { records: Vec::new(), producer, dry_run: true });
        match self.session.command(command, self.builder.request_timeout).await {
            Err(Error::Command { message, .. }) if message.contains(COMPLAINT) => Ok(()),
            Err(error) => Err(error),
            Ok(_) => Err(Error::ProducersUnsupported { written: "" }),
        }
    }
}

impl Producer {
    fn to_wire(&self) -> wire::Producer {
        let age_ms = u64::try_from(self.age.as_millis()).unwrap_or(u64::MAX);
        let (id, epoch, sequence) = (self.id.clone(), self.epoch.into(), self.sequence);
        wire::Producer { id, epoch, sequence, age_ms: Some(age_ms) }
    }
}

/// The outcomes of a produce command.
pub(crate) fn results(answer: Resp) -> Result<Vec<Result<Written, RecordError>>, Error> {
    match answer {
        Resp::KafkaProduceResp(answer) => Ok(answer.results.into_iter().map(outcome).collect()),
        other => Err(mismatch("results", &other)),
    }
}

/// A part of the server's error about a producer with an empty id.
const COMPLAINT: &str = "producer.id";
