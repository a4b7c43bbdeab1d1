//! Servers that die while a bridge writes: what a writer is told of each message, held against the stream.

use futures_util::stream::FuturesOrdered;
use sluicegate_stack::nats::Cluster;
use tokio::task::JoinHandle;

use super::*;

#[tokio::test]
async fn answers_to_writes_are_true_while_the_server_is_killed() {
    const KILLS: usize = 4;
    let mut case = Case::start_with("", |config| config.request_timeout = Duration::from_secs(1)).await;
    case.stream("S", 0).await;
    case.keep_streams();
    let writing = Writing::start(&case.nats);
    for _ in 0..KILLS {
        writing.more(500, Result::is_ok).await;
        case.server.process.kill();
        writing.more(0, is_refused).await;
        case.server.up().await.unwrap();
    }
    let told = writing.end().await;
    check(&told, &case.stored("S").await);
}

/// A message is acknowledged once two of three servers have it, so the next leader has it, too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deaths_of_leaders_lose_and_repeat_no_message() {
    let mut cluster = Cluster::start().await.unwrap();
    let streams = cluster.streams().await.unwrap();
    cluster.create(&streams, "S", json!({})).await.unwrap();
    let servers = cluster.servers().split(',').map(|server| server.parse().unwrap()).collect();
    let request_timeout = Duration::from_secs(1);
    let config = ClusterConfig { servers, request_timeout, ..testing::config() };
    let (nats, _shared) = writing(&config, Metrics::default().writes("test"));
    let writing = Writing::start(&nats);
    writing.more(200, Result::is_ok).await;
    let leader = leader(&streams).await;
    // Writes are in flight when it dies.
    cluster.nodes[leader].process.freeze();
    writing.stands_still().await;
    cluster.nodes[leader].process.kill();
    writing.more(200, Result::is_ok).await;
    cluster.nodes[leader].up().await.unwrap();
    all_are_current(&streams).await;
    let told = writing.end().await;
    check(&told, &streams.read("S").await.unwrap());
}

/// A writer of numbers, from 0 on, that sends each message once, without an id. It has several commands in flight.
struct Writing {
    /// The report of each number.
    told: Arc<Mutex<Vec<DeliveryReport>>>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Writing {
    fn start(nats: &Arc<Nats>) -> Self {
        let (told, stop) = (Arc::<Mutex<Vec<DeliveryReport>>>::default(), CancellationToken::new());
        let (nats, all, stopped) = (Arc::clone(nats), Arc::clone(&told), stop.clone());
        let task = tokio::spawn(async move {
            let (due, mut next) = (CancellationToken::new(), 0);
            let mut open = FuturesOrdered::new();
            loop {
                while open.len() < IN_FLIGHT && !stopped.is_cancelled() {
                    let (nats, due, records) = (&nats, &due, numbered(next..next + RECORDS));
                    next += RECORDS;
                    let enqueued = enqueue(nats, ClientKey::default(), records, due).await;
                    open.push_back(async move {
                        match enqueued {
                            Ok(enqueued) => enqueued.reports.await,
                            Err(error) => vec![Err(error); RECORDS as usize],
                        }
                    });
                }
                let Some(reports) = open.next().await else { return };
                let is_refused = reports.iter().any(is_refused);
                all.lock().extend(reports);
                if is_refused {
                    sleep(POLL).await;
                }
            }
        });
        Self { told, stop, task }
    }

    fn count(&self, is_meant: fn(&DeliveryReport) -> bool) -> usize {
        self.told.lock().iter().filter(|report| is_meant(report)).count()
    }

    /// Waits for more than so many more of these reports.
    async fn more(&self, more: usize, is_meant: fn(&DeliveryReport) -> bool) {
        let before = self.count(is_meant);
        until(|| self.count(is_meant) > before + more).await;
    }

    /// Waits until nothing is acknowledged any more.
    async fn stands_still(&self) {
        let mut before = usize::MAX;
        while before != self.count(Result::is_ok) {
            before = self.count(Result::is_ok);
            sleep(STILL).await;
        }
    }

    async fn end(self) -> Vec<DeliveryReport> {
        self.stop.cancel();
        within(self.task).await.unwrap();
        std::mem::take(&mut *self.told.lock())
    }
}

fn is_refused(report: &DeliveryReport) -> bool {
    report.is_err() && !is_unknown(report)
}

/// Checks that the stream has what a writer was told.
fn check(told: &[DeliveryReport], stored: &[KafkaMessage]) {
    assert!(told.iter().any(is_unknown), "no write was in flight when a server ended");
    let numbers: Vec<usize> = data_of(stored).into_iter().map(|data| data.parse().unwrap()).collect();
    assert!(numbers.is_sorted_by(|one, next| one < next), "a message is there twice, or behind a later one");
    for (number, report) in told.iter().enumerate() {
        let place = numbers.binary_search(&number).ok().and_then(|place| stored.get(place));
        match (report, place) {
            (Ok(written), place) => {
                assert_eq!(place.map(|message| message.offset), Some(written.offset), "{number}");
            }
            (Err(error), Some(_)) => assert!(is_unknown(report), "{number} is there: {error:?}"),
            (Err(_), None) => {}
        }
    }
}

/// The place of the stream's leader among the servers.
async fn leader(streams: &Streams) -> usize {
    let leader = |cluster: &Value| cluster["leader"].as_str()?.strip_prefix('n')?.parse().ok();
    until_told(streams, leader).await
}

/// Waits until all servers have the whole stream.
async fn all_are_current(streams: &Streams) {
    let are_current = |cluster: &Value| {
        let replicas = cluster["replicas"].as_array()?;
        let is_current = |replica: &Value| replica["current"] == true && replica["offline"] != true;
        (replicas.len() == 2 && replicas.iter().all(is_current)).then_some(())
    };
    until_told(streams, are_current).await;
}

/// Waits until the servers tell something of the stream's cluster.
async fn until_told<T>(streams: &Streams, told: impl Fn(&Value) -> Option<T>) -> T {
    let info = async || streams.call("STREAM.INFO.S", &json!({})).await.unwrap_or_default();
    until_some(async || told(&info().await["cluster"])).await
}

/// Messages of a command.
const RECORDS: u32 = 20;
/// Commands.
const IN_FLIGHT: usize = 4;
/// The time without an acknowledgement after which there will be none.
const STILL: Duration = Duration::from_millis(100);
