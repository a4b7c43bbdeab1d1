//! Commands that write.

use super::*;

#[tokio::test(start_paused = true)]
async fn records_are_enqueued_in_the_order_of_their_commands() {
    let mut peer = Peer::start();
    // Topics of later commands are found earlier.
    for number in 0..10_u8 {
        peer.ask(number.into(), produce(100 - 10 * u64::from(number), vec![number])).await;
    }
    for number in 0..10_i64 {
        let (sequence, resp) = peer.answer().await;
        let Resp::KafkaProduceResp(produced) = resp else { panic!("{resp:?}") };
        assert_eq!((sequence, produced.results[0].offset), (number, number));
    }
    assert_eq!(peer.script.taken(), (0..10_u8).map(|number| vec![number]).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn records_in_flight_count_against_answer_bytes() {
    let mut peer = Peer::with(|limits| limits.answer_bytes = 100_000);
    peer.ask(1, produce(100, vec![0; 60_000])).await;
    peer.ask(2, produce(0, vec![1; 60_000])).await;
    peer.ask(3, ping(b"")).await;
    assert_eq!(peer.answer().await.0, 3);
    assert_eq!(peer.answer().await.0, 1);
    assert_eq!(peer.answer().await.0, 2);
}

#[tokio::test(start_paused = true)]
async fn refused_command_lets_no_later_one_overtake() {
    let mut peer = Peer::start();
    peer.ask(1, produce(100, "first")).await;
    let topic = |topic: i32| ProduceRecord { topic: topic.to_string(), ..Default::default() };
    peer.ask(2, Req::CmdKafkaProduce(CmdKafkaProduce { records: (0..51).map(topic).collect() })).await;
    peer.ask(3, produce(0, "third")).await;
    for _ in 0..3 {
        let (sequence, resp) = peer.answer().await;
        assert_eq!(matches!(resp, Resp::ErrorResp(_)), sequence == 2, "{sequence}: {resp:?}");
    }
    assert_eq!(peer.script.taken(), ["first", "third"]);
}

#[tokio::test(start_paused = true)]
async fn records_count_with_their_decoded_size() {
    let mut peer = Peer::with(|limits| limits.answer_bytes = 320_000);
    let headers = vec![Default::default(); 100];
    let record = ProduceRecord { topic: "100".to_owned(), headers, ..Default::default() };
    // About 2 KB encoded and 60 KB decoded: a fetch does not fit beside them.
    peer.ask(1, Req::CmdKafkaProduce(CmdKafkaProduce { records: vec![record; 10] })).await;
    peer.ask(2, fetch(0, 1)).await;
    assert_eq!(peer.answer().await.0, 1);
    assert_eq!(peer.answer().await.0, 2);
}
