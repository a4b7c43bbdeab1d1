//! Input that never ends: what it leaves behind, and what has its turn nevertheless.

use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::stream::{self, Stream};
use http_body::Frame;
use http_body_util::StreamBody;
use sluicegate_delivery::testing::logs::Logs;
use sluicegate_fair_share::ClientKey;
use sluicegate_protocol::{CmdCredit, CmdKafkaSubscribe, CmdUnsubscribe, KafkaSource, kafka_source};
use sluicegate_rights::{Rights, Topics};

use super::*;
use crate::session::body::SessionBody;
use crate::session::input::{READ_BYTES, chunks};

/// A session of a client at an unknown address, with these chunks of input.
pub(super) fn serve(
    cluster: &Arc<Cluster>,
    input: impl Stream<Item = Vec<u8>> + Send + 'static,
) -> (JoinHandle<End>, SessionBody) {
    serve_grant(Grant::all(cluster), input, |_| {}, Drain::default())
}

fn serve_grant(
    grant: Grant,
    input: impl Stream<Item = Vec<u8>> + Send + 'static,
    change: impl FnOnce(&mut Limits),
    drain: Drain,
) -> (JoinHandle<End>, SessionBody) {
    let input = input.map(|chunk| Ok::<_, std::io::Error>(Frame::data(Bytes::from(chunk))));
    let (transport, answers) = Transport::bodies(StreamBody::new(input), Overload::StopReading);
    let mut limits = limits();
    change(&mut limits);
    let session =
        tokio::spawn(async move { run(transport, Codec::Protobuf, grant.into(), &limits, drain).await });
    (session, answers)
}

pub(super) fn request(sequence: i64, req: Req) -> Vec<u8> {
    framed(&PubSubReq { sequence, req: Some(req) }.encode_to_vec())
}

fn subscribe(sequence: i64) -> Vec<u8> {
    let sources = vec![KafkaSource { topic: "t".into(), ..KafkaSource::default() }];
    request(sequence, Req::CmdKafkaSubscribe(CmdKafkaSubscribe { sources, ..Default::default() }))
}

/// A request without an answer.
fn credit() -> Vec<u8> {
    request(1, Req::CmdCredit(CmdCredit { subscription: 77, bytes: 1 }))
}

/// Chunks of input, and how many of them are taken.
fn counted(
    chunks: impl Iterator<Item = Vec<u8>> + Send + 'static,
) -> (impl Stream<Item = Vec<u8>> + Send + 'static, Arc<AtomicUsize>) {
    let taken = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&taken);
    (stream::iter(chunks.inspect(move |_| _ = count.fetch_add(1, Ordering::Relaxed))), taken)
}

#[tokio::test(start_paused = true)]
async fn ended_subscriptions_hold_nothing() {
    for reads in [true, false] {
        let logs = Logs::default();
        // They never get as far as their first answer.
        logs.silence_ends();
        let cluster = logs.cluster();
        let held = Arc::new(AtomicUsize::new(0));
        let (chunks, taken) = counted({
            let (cluster, held) = (Arc::clone(&cluster), Arc::clone(&held));
            (0..PAIRS / PAIRS_PER_CHUNK).map(move |_| {
                // Each subscription that is not dropped yet keeps the cluster.
                held.fetch_max(Arc::strong_count(&cluster), Ordering::Relaxed);
                let unsubscribe = CmdUnsubscribe { subscription: 1 };
                [subscribe(1), request(2, Req::CmdUnsubscribe(unsubscribe))].concat().repeat(PAIRS_PER_CHUNK)
            })
        });
        let (session, mut answers) = serve(&cluster, chunks);
        if reads {
            while let Some(frame) = answers.frame().await {
                frame.unwrap();
            }
            assert_eq!(session.await.unwrap(), End::Left);
            assert_eq!(taken.load(Ordering::Relaxed) * PAIRS_PER_CHUNK, PAIRS);
        } else {
            // The clock moves once the session can take no more.
            tokio::time::sleep(Duration::from_secs(1)).await;
            let taken = taken.load(Ordering::Relaxed) * PAIRS_PER_CHUNK;
            assert!((PAIRS_PER_CHUNK..PAIRS / 10).contains(&taken), "{taken} pairs were taken");
        }
        let held = held.load(Ordering::Relaxed);
        assert!(held < 50, "{held} references to the cluster, reads: {reads}");
    }
}

#[tokio::test(start_paused = true)]
async fn endless_input_delays_no_answer_and_no_delivery() {
    for (asks, sequence) in [(request(5, ping(b"")), 5), (subscribe(6), 6)] {
        let (chunks, taken) =
            counted(std::iter::once(asks).chain(std::iter::repeat_with(credit).take(CHUNKS)));
        let (_session, mut answers) = serve(&Logs::default().cluster(), chunks);
        let first = answers.frame().await.unwrap().unwrap().into_data().unwrap();
        let answer = PubSubResp::decode(&first[grpc::HEAD_LEN..]).unwrap();
        assert_eq!(answer.sequence, sequence);
        let taken = taken.load(Ordering::Relaxed);
        assert!(taken < CHUNKS / 10, "{sequence}: {taken} chunks came first");
    }
}

#[tokio::test(start_paused = true)]
async fn endless_input_delays_no_drain() {
    let drain = Drain::default();
    drain.begin(1, Duration::ZERO);
    let chunks = std::iter::repeat_with(credit).take(CHUNKS);
    let grant = Grant::all(&Logs::default().cluster());
    let (session, _answers) = serve_grant(grant, stream::iter(chunks), |_| {}, drain);
    assert_eq!(session.await.unwrap(), End::Drained);
}

#[tokio::test(start_paused = true)]
async fn endless_deliveries_delay_no_drain() {
    let (logs, drain) = (Logs::default(), Drain::default());
    logs.append(0, RECORDS);
    logs.keep(true);
    let from = Some(kafka_source::From::Offset(0));
    let sources =
        vec![KafkaSource { topic: "t".into(), partitions: vec![0], from, ..KafkaSource::default() }];
    let command = CmdKafkaSubscribe { sources, max_batch_records: 1, ..CmdKafkaSubscribe::default() };
    let input = stream::iter([request(1, Req::CmdKafkaSubscribe(command))]).chain(stream::pending());
    let (session, mut answers) = serve_grant(Grant::all(&logs.cluster()), input, |_| {}, drain.clone());
    let mut bytes = 0;
    while let Some(frame) = answers.frame().await {
        bytes += frame.unwrap().data_ref().map_or(0, Bytes::len);
        drain.begin(1, Duration::ZERO);
    }
    drop(answers);
    assert_eq!(session.await.unwrap(), End::Drained);
    assert!(bytes < RECORDS, "{bytes} bytes came first");
}

/// On the real clock: a paused one stands still while there is input.
#[tokio::test]
async fn endless_input_delays_no_deadline() {
    let unfinished = request(0, Req::Control(ControlReq { control: Some(Ask::Unfinished(1)) }));
    let chunks = std::iter::once(unfinished).chain(std::iter::repeat_with(credit));
    let interval = Duration::from_millis(100);
    let change = |limits: &mut Limits| (limits.ping_interval, limits.close_timeout) = (interval, interval);
    let grant = Grant::all(&Logs::default().cluster());
    let (session, _answers) = serve_grant(grant, stream::iter(chunks), change, Drain::default());
    assert_eq!(session.await.unwrap(), End::Unfinished(3 * interval));
}

/// An input that ends in this stream shows that what came before it is used up; with the turns that another task of the
/// same thread had until then.
fn used_up<T>() -> (impl Stream<Item = T> + Send + 'static, impl Future<Output = usize>) {
    let (used, mut seen) = tokio::sync::oneshot::channel();
    let mut used = Some(used);
    let end = stream::poll_fn(move |_| {
        used.take().map(|used| used.send(()));
        std::task::Poll::Pending
    });
    let turns = async move {
        let mut turns = 0;
        while seen.try_recv().is_err() {
            tokio::task::yield_now().await;
            turns += 1;
        }
        turns
    };
    (end, turns)
}

#[tokio::test]
async fn many_requests_of_one_read_leave_turns_to_other_tasks() {
    let (requests, (end, turns)) = (100 * TURN, used_up());
    let input = stream::iter([credit().repeat(requests)]).chain(end);
    let (_session, _answers) = serve(&Logs::default().cluster(), input);
    let turns = turns.await;
    assert!(turns >= 100, "{turns} turns beside {requests} requests");
}

#[tokio::test]
async fn reads_that_make_no_request_leave_turns_to_other_tasks() {
    let (reads, (end, turns)) = (100, used_up());
    let io = tokio::io::AsyncReadExt::take(tokio::io::repeat(0), (reads * READ_BYTES) as u64);
    let mut input = chunks(io, |_| Some(Bytes::new())).chain(end);
    tokio::spawn(async move { while input.next().await.is_some() {} });
    let turns = turns.await;
    assert!(turns >= reads / 2, "{turns} turns beside {reads} reads");
}

#[tokio::test(start_paused = true)]
async fn requests_of_one_client_leave_some_of_each_turn_to_others() {
    let (cluster, _) = Script::cluster(1);
    let grant = |address: &[u8]| {
        let rights = Rights { read: Some(Topics::default()), write: None, ..Rights::default() };
        Grant::new(Arc::clone(&cluster), ClientKey::parse(address), None, rights)
    };
    let (chunks, taken) = counted(std::iter::repeat_with(|| credit().repeat(TURN)));
    let (drain, began) = (Drain::default(), Instant::now());
    let (_greedy, _unread) = serve_grant(grant(b"192.0.2.1"), chunks, |_| {}, drain.clone());
    for turn in 1..=5 {
        // Of 10,000 in each tenth of a second, a client can have three quarters. These count a little more than one
        // each.
        tokio::time::sleep_until(began + turn * Duration::from_millis(100) - Duration::from_millis(50)).await;
        let taken = taken.load(Ordering::Relaxed) * TURN / usize::try_from(turn).unwrap();
        assert!((6_000..7_500).contains(&taken), "{taken} in each of {turn} turns");
        let input = stream::iter([request(5, ping(b""))]).chain(stream::pending());
        let (_other, mut answers) = serve_grant(grant(b"192.0.2.2"), input, |_| {}, drain.clone());
        let now = Instant::now();
        answers.frame().await.unwrap().unwrap();
        assert_eq!(now.elapsed(), Duration::ZERO, "it waited");
    }
}

/// The steps of a task's turn, as tokio counts them.
const TURN: usize = 128;
const PAIRS: usize = 200_000;
const PAIRS_PER_CHUNK: usize = 10;
const CHUNKS: usize = 100_000;
const RECORDS: usize = 100_000;
