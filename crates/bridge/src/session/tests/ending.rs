//! Ends of sessions, and answers that are still delivered.

use futures_util::stream;

use super::turns::{request, serve};
use super::*;

#[tokio::test(start_paused = true)]
async fn two_unanswered_pings_end_the_session() {
    let mut peer = Peer::start();
    let start = Instant::now();
    for seconds in [30, 60] {
        assert_eq!(peer.next().await, Some(control(Control::Ping(Bytes::new()))));
        assert_eq!(start.elapsed().as_secs(), seconds);
    }
    assert_eq!(peer.expect_close(1011, "no answer to ping").await, End::Silent);
    assert_eq!(start.elapsed().as_secs(), 90);
}

#[tokio::test(start_paused = true)]
async fn answered_pings_keep_the_session_open() {
    let mut peer = Peer::start();
    for _ in 0..20 {
        assert_eq!(peer.next().await, Some(control(Control::Ping(Bytes::new()))));
        peer.control(Ask::Alive(Bytes::new())).await;
    }
}

#[tokio::test(start_paused = true)]
async fn drain_answers_commands_in_flight_within_its_grace() {
    for (millis, is_answered, seconds) in [(2_000, true, 2), (60_000, false, 5)] {
        let mut peer = Peer::start();
        peer.ask(1, fetch(millis, 10)).await;
        peer.ask(2, ping(b"")).await;
        assert_eq!(peer.answer().await.0, 2);
        let start = Instant::now();
        peer.drain.begin(1, Duration::ZERO);
        if is_answered {
            assert_eq!(peer.answer().await.0, 1);
        }
        assert_eq!(peer.expect_close(1001, "going away").await, End::Drained);
        assert_eq!(start.elapsed().as_secs(), seconds);
    }
}

#[tokio::test(start_paused = true)]
async fn requests_beyond_the_framing_and_closes_are_the_last_ones() {
    let too_large = "message of 101 bytes exceeds the limit of 100";
    let compressed = "compressed message, but no compression was negotiated";
    let close = request(0, Req::Control(ControlReq { control: Some(Ask::Close(Close::default())) }));
    for (input, code, reason) in [
        (&grpc::head(101)[..], 1009, too_large),
        (&[1, 0, 0, 0, 0], 1011, compressed),
        // Without a status, as it is echoed.
        (&close, 0, ""),
    ] {
        let mut peer = Peer::with(|limits| limits.max_request_bytes = 100);
        peer.stream.write_all(input).await.unwrap();
        peer.expect_close(code, reason).await;
    }
}

#[tokio::test(start_paused = true)]
async fn disconnect_frees_everything_at_once() {
    let mut peer = Peer::start();
    let start = Instant::now();
    peer.ask(1, fetch(60_000, 10)).await;
    peer.ask(2, fetch(1, 200_000)).await;
    tokio::time::sleep(Duration::from_millis(10)).await;
    drop(peer.stream);
    assert_eq!(peer.session.await.unwrap(), End::Left);
    assert!(start.elapsed() < Duration::from_secs(1));
    assert_eq!(Arc::strong_count(&peer.cluster), 1);
}

#[tokio::test(start_paused = true)]
async fn peer_that_never_ends_its_side_times_out() {
    let mut peer = Peer::start();
    peer.drain.begin(1, Duration::ZERO);
    assert_eq!(peer.next().await, Some(close(1001, "going away")));
    assert_eq!(peer.next().await, None);
    let start = Instant::now();
    assert_eq!(peer.session.await.unwrap(), End::Drained);
    assert_eq!(start.elapsed().as_secs(), 5);
}

/// The delay between a close and the end of the response, over a request's body, after answers of `len` bytes.
async fn delay_of_response_end(len: usize) -> Duration {
    let close_asked = Ask::Close(Close { code: 1000, reason: String::new() });
    let requests = [
        request(1, Req::CmdPing(CmdPing { state: vec![b's'; len].into() })),
        request(1, Req::Control(ControlReq { control: Some(close_asked) })),
    ];
    let never_ends = stream::iter([requests.concat()]).chain(stream::pending());
    let (cluster, _) = Script::cluster(MAX_FETCH);
    let (_session, body) = serve(&cluster, never_ends);
    let mut body = std::pin::pin!(body);
    let (mut got, mut at) = (0, Instant::now());
    while let Some(Ok(frame)) = body.frame().await {
        if let Some(data) = frame.data_ref() {
            (got, at) = (got + data.len(), Instant::now());
        }
    }
    assert!(got > len, "{got} bytes of {len}");
    at.elapsed()
}

#[tokio::test(start_paused = true)]
async fn response_end_is_delayed_after_more_than_a_window_of_answers() {
    assert_eq!(delay_of_response_end(1_000).await, Duration::ZERO);
    assert_eq!(delay_of_response_end(70_000).await, Duration::from_secs(1));
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(200))]

    #[test]
    fn session_ends_with_one_close_after_any_input(
        messages in proptest::collection::vec(proptest::collection::vec(proptest::prelude::any::<u8>(), 0..40), 0..20),
        tail in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..20),
        chunk in 1_usize..60,
    ) {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        builder.enable_time().start_paused(true).build().unwrap().block_on(async {
            let mut peer = Peer::start();
            let mut wire: Vec<u8> = messages.iter().flat_map(|message| framed(message)).collect();
            wire.extend_from_slice(&tail);
            for chunk in wire.chunks(chunk) {
                // The session can end before everything is sent.
                if peer.stream.write_all(chunk).await.is_err() {
                    break;
                }
            }
            peer.drain.begin(1, Duration::ZERO);
            let (answers, _) = peer.rest().await;
            let is_close = |answer: &PubSubResp| matches!(
                answer.resp,
                Some(Resp::Control(ControlResp { control: Some(Control::Close(_)) }))
            );
            assert!(is_close(answers.last().expect("a close")));
            assert_eq!(answers.iter().filter(|answer| is_close(answer)).count(), 1);
        });
    }
}
