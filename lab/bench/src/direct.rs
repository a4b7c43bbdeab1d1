//! A librdkafka producer that writes to the broker with the bridge's settings.

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use futures_util::future::try_join_all;
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{
    BaseRecord, FutureProducer, FutureRecord, Producer, ProducerContext, ThreadedProducer,
};
use rdkafka::{ClientConfig, ClientContext};

use crate::report::{Measured, Took};
use crate::{Failure, Requests, Writing};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[arg(long)]
    bootstrap: String,
    #[arg(long = "property", value_parser = crate::property)]
    properties: Vec<(String, String)>,
    #[command(flatten)]
    writing: Writing,
}

/// For [`wait`].
#[derive(Debug, clap::Args)]
pub(crate) struct WaitArgs {
    #[command(flatten)]
    args: Args,
    #[command(flatten)]
    requests: Requests,
}

/// Writes as much as the queue takes, and prints a [`Measured`] line.
pub(crate) fn stream(args: &Args) -> Result<(), Failure> {
    let writing = &args.writing;
    let producer: ThreadedProducer<Count> = config(args).create_with_context(Count::default())?;
    let value = writing.value();
    let send = || match producer.send(BaseRecord::<(), _>::to(&writing.topic).payload(&value)) {
        Ok(()) => Ok(()),
        Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) => {
            thread::sleep(QUEUE_FULL);
            Ok(())
        }
        Err((error, _)) => Err(error),
    };
    // The first record fetches the producer id from the broker, which takes a while.
    send()?;
    producer.flush(PATIENCE)?;
    let start = Instant::now();
    while start.elapsed() < writing.time() {
        send()?;
    }
    producer.flush(PATIENCE)?;
    let seconds = start.elapsed().as_secs_f64();
    let Count { written, failed } = producer.context().as_ref();
    match failed.load(Ordering::Relaxed) {
        0 => {
            let messages = written.load(Ordering::Relaxed).saturating_sub(1);
            let bytes = messages * u64::from(writing.size);
            Measured { messages, bytes, seconds, latency: None }.print()
        }
        failed => Err(format!("{failed} records were not written").into()),
    }
}

/// Keeps as many requests in flight as the gateway's clients do, each repeated once acknowledged, and prints a
/// [`Measured`] line.
pub(crate) fn wait(WaitArgs { args, requests }: &WaitArgs) -> Result<(), Failure> {
    let writing = &args.writing;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let producer: FutureProducer = config(args).create()?;
    let value = writing.value();
    let request = async |records: usize| {
        let send = |_| {
            let record = FutureRecord::<(), _>::to(&writing.topic).payload(&value);
            producer.send_result(record).map_err(|(error, _)| error)
        };
        let sent = (0..records).map(send).collect::<KafkaResult<Vec<_>>>()?;
        for delivery in sent {
            delivery.await.map_err(|_| KafkaError::Canceled)?.map_err(|(error, _)| error)?;
        }
        Ok::<_, KafkaError>(())
    };
    let (took, seconds) = runtime.block_on(async {
        request(1).await?;
        let start = Instant::now();
        let again_and_again = async || {
            let mut took = Took::new();
            while start.elapsed() < writing.time() {
                let sent = Instant::now();
                request(requests.batch).await?;
                took.push(sent.elapsed());
            }
            Ok::<_, KafkaError>(took)
        };
        let all = writing.clients as usize * requests.in_flight;
        let took = try_join_all((0..all).map(|_| again_and_again())).await?;
        Ok::<_, KafkaError>((took.concat(), start.elapsed().as_secs_f64()))
    })?;
    Measured::of_requests(&took, requests.batch, writing.size, seconds).print()
}

fn config(args: &Args) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", &args.bootstrap).extend(args.properties.iter().cloned());
    config
}

#[derive(Default)]
struct Count {
    written: AtomicU64,
    failed: AtomicU64,
}

impl ClientContext for Count {}

impl ProducerContext for Count {
    type DeliveryOpaque = ();

    fn delivery(&self, delivery: &DeliveryResult<'_>, (): ()) {
        let count = if delivery.is_ok() { &self.written } else { &self.failed };
        count.fetch_add(1, Ordering::Relaxed);
    }
}

const QUEUE_FULL: Duration = Duration::from_millis(1);
/// A broker that acknowledges nothing ends the measurement after this.
const PATIENCE: Duration = Duration::from_secs(40);
