//! Callers that send requests and callers that share their answers, without a broker.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use tokio::sync::oneshot;
use tokio::task::{LocalSet, spawn_local, yield_now};

use super::*;

/// The key of a request, and where the test answers it.
type Sent = (i64, oneshot::Sender<u32>);

/// Questions whose requests are answered by the test.
#[derive(Clone)]
struct Case {
    requests: Rc<SingleFlight<i64, u32>>,
    known: Rc<Cell<Option<u32>>>,
    sent: Rc<RefCell<Vec<Sent>>>,
}

impl Case {
    fn new() -> Self {
        Self { requests: Rc::default(), known: Rc::default(), sent: Rc::default() }
    }

    async fn ask(&self, key: i64) -> tokio::task::JoinHandle<u32> {
        let case = self.clone();
        let asked = spawn_local(async move {
            let request = || async {
                let (answered, answer) = oneshot::channel();
                case.sent.borrow_mut().push((key, answered));
                answer.await.expect("the test answers")
            };
            case.requests.run(key, |other| key - other < 10, || case.known.get(), request).await
        });
        settle().await;
        asked
    }

    fn sent(&self) -> Vec<i64> {
        self.sent.borrow().iter().map(|(key, _)| *key).collect()
    }

    async fn answer(&self, value: u32) {
        let (_, answered) = self.sent.borrow_mut().remove(0);
        answered.send(value).expect("somebody waits");
        settle().await;
    }
}

async fn settle() {
    for _ in 0..20 {
        yield_now().await;
    }
}

async fn local(test: impl AsyncFnOnce(Case)) {
    LocalSet::new().run_until(test(Case::new())).await;
}

#[tokio::test]
async fn calls_during_a_request_share_the_next_one() {
    local(async |case| {
        let first = case.ask(1).await;
        let later = [case.ask(1).await, case.ask(1).await, case.ask(1).await];
        assert_eq!(case.sent(), [1], "only one request is under way");
        case.answer(10).await;
        assert_eq!(first.await.unwrap(), 10);
        assert_eq!(case.sent(), [1], "one request for all that were asked during the first one");
        case.answer(11).await;
        for asked in later {
            assert_eq!(asked.await.unwrap(), 11, "no answer is older than its question");
        }
        assert!(case.sent().is_empty());
    })
    .await;
}

#[tokio::test]
async fn known_answers_need_no_request() {
    local(async |case| {
        let first = case.ask(1).await;
        let (same, near) = (case.ask(1).await, case.ask(5).await);
        case.known.set(Some(7));
        case.answer(10).await;
        assert_eq!((first.await.unwrap(), same.await.unwrap(), near.await.unwrap()), (10, 7, 7));
        assert!(case.sent().is_empty());
    })
    .await;
}

#[tokio::test]
async fn near_call_waits_once_and_a_distant_one_does_not() {
    local(async |case| {
        let (first, near, distant) = (case.ask(1).await, case.ask(5).await, case.ask(20).await);
        assert_eq!(case.sent(), [1, 20]);
        case.answer(10).await;
        assert_eq!(case.sent(), [20, 5], "the request before it did not make the answer known");
        case.answer(12).await;
        case.answer(11).await;
        assert_eq!((first.await.unwrap(), near.await.unwrap(), distant.await.unwrap()), (10, 11, 12));
    })
    .await;
}

#[tokio::test]
async fn another_caller_repeats_a_dropped_request() {
    local(async |case| {
        let first = case.ask(1).await;
        let second = case.ask(1).await;
        first.abort();
        settle().await;
        assert_eq!(case.sent(), [1, 1]);
        case.sent.borrow_mut().remove(0);
        case.answer(11).await;
        assert_eq!(second.await.unwrap(), 11);
        assert!(case.requests.state.lock().under_way.is_empty());
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn call_waits_for_others_no_longer_than_its_patience() {
    let requests = SingleFlight::<i64, u32>::default();
    let patience = Duration::from_secs(5);
    let slow = |answer| async move {
        tokio::time::sleep(Duration::from_secs(8)).await;
        answer
    };
    let begun = tokio::time::Instant::now();
    let calls = [1, 2].map(|answer| requests.run_within(patience, 7, move || slow(answer)));
    let [own, other] = calls;
    let other = async { (other.await, begun.elapsed()) };
    let (own, other) = tokio::join!(own, other);
    assert_eq!(own, Some(1), "others can wait for it");
    assert_eq!(other, (None, patience));
}
