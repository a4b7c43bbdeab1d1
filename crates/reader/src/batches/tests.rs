//! The keys of requests and the callers that get their values, without a broker.

use std::net::IpAddr;
use std::sync::Mutex;

use tokio::sync::oneshot;
use tokio::task::{JoinHandle, yield_now};

use super::*;

/// The keys of a request, and where the test answers it.
type Sent = (Vec<u32>, oneshot::Sender<u32>);

/// Calls whose requests are answered by the test: the value of a key is the answer added to it.
#[derive(Clone)]
struct Case {
    batches: Arc<Batches<u32, u32>>,
    sent: Arc<Mutex<Vec<Sent>>>,
}

impl Case {
    fn new(max_waiting: usize) -> Self {
        Self { batches: Batches::new(max_waiting, conflict), sent: Arc::default() }
    }

    fn spread() -> Self {
        Self { batches: Batches::spread(100, conflict), sent: Arc::default() }
    }

    /// Asks for these keys from this address.
    async fn ask(&self, from: u8, keys: impl IntoIterator<Item = u32>) -> JoinHandle<Vec<u32>> {
        self.ask_from(IpAddr::from([10, 0, 0, from]), keys).await
    }

    async fn ask_from(&self, from: IpAddr, keys: impl IntoIterator<Item = u32>) -> JoinHandle<Vec<u32>> {
        let (case, keys) = (self.clone(), keys.into_iter().collect());
        let asked = tokio::spawn(async move {
            let source = ClientKey::from(from);
            let sent = case.sent;
            let send = move |keys: Vec<u32>| {
                let (answered, answer) = oneshot::channel();
                sent.lock().unwrap().push((keys, answered));
                async move {
                    let answer = answer.await.expect("the test answers");
                    move |key: &u32| key + answer
                }
            };
            let mut values = Vec::new();
            case.batches.ask(source, keys, send, &mut values).await;
            values.sort_unstable();
            values.into_iter().map(|(_, value)| value).collect()
        });
        settle().await;
        asked
    }

    /// The keys of the requests under way.
    fn sent(&self) -> Vec<Vec<u32>> {
        self.sent.lock().unwrap().retain(|(_, answered)| !answered.is_closed());
        self.sent.lock().unwrap().iter().map(|(keys, _)| keys.clone()).collect()
    }

    async fn answer(&self, value: u32) {
        let (_, answered) = self.sent.lock().unwrap().remove(0);
        answered.send(value).expect("somebody waits");
        settle().await;
    }

    /// Answers requests until all these callers have their values. The number of requests.
    async fn answer_all<'a>(&self, callers: impl IntoIterator<Item = &'a JoinHandle<Vec<u32>>>) -> usize {
        let mut requests = 0;
        for caller in callers {
            while !caller.is_finished() {
                self.answer(0).await;
                requests += 1;
            }
        }
        requests
    }
}

/// Numbers of the same hundred and above a million are not for one request.
fn conflict(one: &u32, next: &u32) -> bool {
    *one > 1_000_000 && one / 100 == next / 100
}

async fn settle() {
    for _ in 0..20 {
        yield_now().await;
    }
}

#[tokio::test]
async fn all_that_waits_is_one_request() {
    let case = Case::new(100);
    let first = case.ask(1, [1]).await;
    // These came after the first request was sent.
    let (second, third) = (case.ask(2, [1, 2]).await, case.ask(3, [3]).await);
    assert_eq!(case.sent(), [vec![1]]);
    case.answer(100).await;
    assert_eq!(first.await.unwrap(), [101]);
    assert_eq!(case.sent(), [vec![1, 2, 3]]);
    case.answer(200).await;
    assert_eq!((second.await.unwrap(), third.await.unwrap()), (vec![201, 202], vec![203]));
    assert!(case.batches.state.lock().waiting.is_empty() && case.batches.permits.used() == 0);
}

#[tokio::test]
async fn newcomer_gets_its_value_with_the_next_request() {
    let case = Case::new(100);
    let mut attack = Vec::new();
    for number in 0..50 {
        attack.push(case.ask(1, number * 100..number * 100 + 60).await);
    }
    let newcomer = case.ask(2, [7777]).await;
    case.answer(0).await;
    let sent = case.sent();
    assert!(sent[0].contains(&7777) && sent[0].len() <= 100, "{sent:?}");
    case.answer(0).await;
    assert!(newcomer.is_finished());
    // Each request is for as much as the source can have.
    let requests = case.answer_all(&attack).await;
    assert!(requests < 50 * 60 / 60, "{requests} requests");
    for (call, number) in attack.into_iter().zip(0..) {
        assert_eq!(call.await.unwrap(), (number * 100..number * 100 + 60).collect::<Vec<_>>());
    }
    assert_eq!(case.batches.permits.used(), 0);
}

#[tokio::test(start_paused = true)]
async fn request_without_an_answer_delays_others_for_a_moment() {
    let case = Case::new(100);
    let (silent, other) = (case.ask(1, [1]).await, case.ask(2, [2]).await);
    assert_eq!(case.sent(), [vec![1]]);
    tokio::time::sleep(TURN).await;
    settle().await;
    assert_eq!(case.sent(), [vec![1], vec![2]]);
    let first = case.sent.lock().unwrap().remove(0);
    case.answer(10).await;
    assert_eq!((other.await.unwrap(), silent.is_finished()), (vec![12], false));
    first.1.send(20).unwrap();
    assert_eq!(silent.await.unwrap(), [21]);
}

#[tokio::test]
async fn callers_that_leave_take_no_room_and_delay_nobody() {
    let case = Case::new(4);
    let sender = case.ask(1, [1]).await;
    let left = case.ask(1, [2, 3]).await;
    sender.abort();
    left.abort();
    settle().await;
    assert_eq!(case.sent(), [vec![1]], "a request outlives its caller");
    let all = case.ask(1, 10..20).await;
    let requests = case.answer_all([&all]).await;
    assert_eq!(all.await.unwrap(), (10..20).collect::<Vec<_>>());
    // The first, what fits beside those that left, and then three at a time.
    assert!(requests <= 5, "{requests} requests");
    assert_eq!(case.batches.permits.used(), 0);
}

#[tokio::test(start_paused = true)]
async fn caller_whose_request_is_late_sends_no_others() {
    let case = Case::new(100);
    let (first, second) = (case.ask(1, [1, 2]).await, case.ask(2, [3]).await);
    tokio::time::sleep(TURN * 3).await;
    settle().await;
    assert_eq!(case.sent(), [vec![1, 2], vec![3]]);
    case.answer(10).await;
    assert!(first.is_finished() && !second.is_finished());
}

#[tokio::test]
async fn keys_that_conflict_are_in_requests_of_their_own_in_turns() {
    let case = Case::new(100);
    let first = case.ask(9, [7]).await;
    let greedy = case.ask(1, (1_000_001..1_000_021).rev()).await;
    let (other, third) = (case.ask(2, [1_000_090, 5]).await, case.ask(3, [1_000_091]).await);
    case.answer(0).await;
    assert_eq!(first.await.unwrap(), [7]);
    // One of each client, and the next of the first; with what conflicts with nothing.
    assert_eq!(case.sent(), [vec![5, 1_000_001], vec![1_000_090], vec![1_000_091], vec![1_000_002]]);
    assert_eq!(case.answer_all([&other, &third]).await, 3);
    assert!(!greedy.is_finished());
    case.answer_all([&greedy]).await;
    assert_eq!(greedy.await.unwrap(), (1_000_001..1_000_021).collect::<Vec<_>>());
    assert_eq!(case.batches.permits.used(), 0);
}

#[tokio::test]
async fn networks_of_one_site_share_its_turns() {
    let case = Case::new(100);
    let _first = case.ask(9, [7]).await;
    for network in 1..=20 {
        let from = IpAddr::from([0x2001, 0xdb8, 0, network, 0, 0, 0, 1]);
        case.ask_from(from, [1_000_000 + u32::from(network)]).await;
    }
    let other = case.ask(2, [1_000_090]).await;
    case.answer(0).await;
    assert_eq!(case.sent(), [vec![1_000_001], vec![1_000_090], vec![1_000_002], vec![1_000_003]]);
    assert!(case.answer_all([&other]).await <= 4);
}

#[tokio::test]
async fn spread_keys_are_in_few_requests() {
    let case = Case::spread();
    let asked = case.ask(1, 1..=3).await;
    assert_eq!(case.sent(), [[1], [2], [3]]);
    let more = case.ask(2, (11..=19).chain([2_000_001, 2_000_002])).await;
    assert_eq!(case.answer_all([&asked]).await, 3);
    assert_eq!(asked.await.unwrap(), [1, 2, 3]);
    assert_eq!(
        case.sent(),
        [vec![11, 15, 19], vec![12, 16, 2_000_001], vec![13, 17, 2_000_002], vec![14, 18]]
    );
    assert_eq!(case.answer_all([&more]).await, 4);
    assert_eq!(more.await.unwrap().len(), 11);
}
