//! A transport against a peer whose bytes are written by hand.

use std::pin::pin;

use tokio::io::DuplexStream;
use tokio::time::sleep_until;

use super::*;

const TIMEOUT: Duration = Duration::from_secs(5);

fn limits() -> Limits {
    Limits { in_flight: 4, max_response: 100, max_idle: None }
}

fn connected(limits: Limits) -> (Transport, DuplexStream) {
    let (ours, theirs) = tokio::io::duplex(1 << 16);
    (Transport::spawn(ours, Address { host: "peer".to_owned(), port: 1 }, limits), theirs)
}

/// Sends a frame of one byte, `name`.
async fn request(transport: &Transport, name: u8) -> Result<Bytes, ConnectionError> {
    Ok(timed(transport, name).await?.0)
}

async fn timed(transport: &Transport, name: u8) -> Result<(Bytes, Duration), ConnectionError> {
    let permit = transport.reserve().await?;
    transport.exchange(permit, vec![name], TIMEOUT).await
}

fn silent_since(transport: &Transport) -> Option<Instant> {
    transport.oldest().map(|(_, since)| since)
}

async fn asked(peer: &mut DuplexStream) -> u8 {
    peer.read_u8().await.expect("a request")
}

/// The answers to requests `a` and `b` of a peer that takes both and then does `act`. It stays until they have ended.
async fn both(
    transport: &Transport,
    mut peer: DuplexStream,
    act: impl AsyncFnOnce(&mut DuplexStream),
) -> [Result<Bytes, ConnectionError>; 2] {
    let peer = async {
        take(&mut peer, b"ab").await;
        act(&mut peer).await;
        peer
    };
    let (a, b, _open) = tokio::join!(request(transport, b'a'), request(transport, b'b'), peer);
    [a, b]
}

/// Requests with these names.
async fn take(peer: &mut DuplexStream, names: &[u8]) {
    for name in names {
        assert_eq!(asked(peer).await, *name);
    }
}

async fn answer(peer: &mut DuplexStream, id: i32, body: &[u8]) {
    let bytes = response(id, body);
    peer.write_all(&bytes).await.expect("an open stream");
}

fn response(id: i32, body: &[u8]) -> Vec<u8> {
    let len = i32::try_from(body.len()).expect("a short body") + 4;
    [&len.to_be_bytes(), &id.to_be_bytes(), body].concat()
}

#[track_caller]
fn check_protocol(result: Result<Bytes, ConnectionError>, want: &str) {
    match result {
        Err(ConnectionError::Protocol { what, .. }) => assert_eq!(what, want),
        other => panic!("{other:?}, expected: {want}"),
    }
}

#[tokio::test]
async fn cancelled_request_stays_until_its_response() {
    let (transport, mut peer) = connected(limits());
    {
        let mut cancelled = pin!(request(&transport, b'a'));
        tokio::select! {
            biased;
            _ = &mut cancelled => panic!("nobody answered"),
            _ = asked(&mut peer) => {}
        }
    }
    assert_eq!(transport.load(), 1);
    let peer = async {
        asked(&mut peer).await;
        answer(&mut peer, 0, b"late").await;
        answer(&mut peer, 1, b"for b").await;
    };
    let (b, ()) = tokio::join!(request(&transport, b'b'), peer);
    assert_eq!(b.expect("an answer"), "for b");
    assert_eq!(transport.load(), 0);
    assert!(transport.is_usable());
}

#[tokio::test]
async fn cancelled_only_request_closes_the_stream() {
    let (transport, mut peer) = connected(Limits { in_flight: 1, ..limits() });
    let answered = async {
        assert_eq!(asked(&mut peer).await, b'a');
        answer(&mut peer, 0, b"for a").await;
    };
    assert_eq!(tokio::join!(request(&transport, b'a'), answered).0.expect("an answer"), "for a");
    assert!(transport.is_usable());
    {
        let mut cancelled = pin!(request(&transport, b'b'));
        tokio::select! {
            _ = &mut cancelled => panic!("nobody answered"),
            name = asked(&mut peer) => assert_eq!(name, b'b'),
        }
    }
    let end = timeout(TIMEOUT / 2, peer.read_u8()).await.expect("the end long before the answer is overdue");
    assert!(end.is_err(), "{end:?}");
    assert!(!transport.is_usable());
    assert!(transport.try_reserve().is_none());
}

#[tokio::test]
async fn requests_in_flight_are_bounded() {
    let (transport, mut peer) = connected(Limits { in_flight: 1, ..limits() });
    let permit = transport.try_reserve().expect("a permit");
    assert!(transport.try_reserve().is_none());
    let exchange = transport.exchange(permit, vec![b'a'], TIMEOUT);
    let (answered, ()) = tokio::join!(exchange, async {
        asked(&mut peer).await;
        assert!(transport.try_reserve().is_none());
        answer(&mut peer, 0, b"").await;
    });
    assert_eq!(answered.expect("an answer").0, "");
    assert!(transport.try_reserve().is_some());
}

#[tokio::test]
async fn stream_cut_at_any_byte_fails_incomplete_responses() {
    let wire = [response(0, b"one"), response(1, b"two")].concat();
    let first = response(0, b"one").len();
    for cut in 0..wire.len() {
        let (transport, mut peer) = connected(limits());
        let peer = async {
            take(&mut peer, b"ab").await;
            peer.write_all(&wire[..cut]).await.expect("an open stream");
            drop(peer);
        };
        let (a, b, ()) = tokio::join!(request(&transport, b'a'), request(&transport, b'b'), peer);
        assert_eq!(a.ok().as_deref(), (cut >= first).then_some(&b"one"[..]), "cut at byte {cut}");
        assert!(matches!(b, Err(ConnectionError::Lost { .. })), "cut at byte {cut}");
        assert!(!transport.is_usable());
        assert!(matches!(request(&transport, b'c').await, Err(ConnectionError::Lost { .. })));
    }
}

#[tokio::test]
async fn invalid_frame_fails_all_requests() {
    let cases: [(&[u8], &str); 5] = [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "frame of 1213486160 bytes, expected 4 to 100"),
        (&[0xFF; 8], "frame of -1 bytes, expected 4 to 100"),
        (&[0, 0, 0, 3, 0, 0, 0], "frame of 3 bytes, expected 4 to 100"),
        (&[0, 0, 0, 101, 0, 0, 0, 9], "frame of 101 bytes, expected 4 to 100"),
        (&response(7, b"x"), "response to request 7, expected one to request 0"),
    ];
    for (bytes, want) in cases {
        let (transport, peer) = connected(limits());
        let write = async |peer: &mut DuplexStream| peer.write_all(bytes).await.expect("an open stream");
        let [a, b] = both(&transport, peer, write).await;
        // The request whose place a wrong answer took gets the same cause.
        check_protocol(a, want);
        check_protocol(b, want);
        check_protocol(request(&transport, b'c').await, want);
        assert!(!transport.is_usable());
    }
}

#[tokio::test]
async fn too_long_response_fails_its_own_request() {
    let (transport, mut peer) = connected(limits());
    let peer = async {
        take(&mut peer, b"ab").await;
        answer(&mut peer, 0, &[b'x'; 97]).await;
        answer(&mut peer, 1, &[b'x'; 96]).await;
        asked(&mut peer).await;
        answer(&mut peer, 2, &vec![b'x'; 3 * READ_BUFFER]).await;
        asked(&mut peer).await;
        answer(&mut peer, 3, b"short").await;
        peer
    };
    let asking = async {
        let (a, b) = tokio::join!(request(&transport, b'a'), request(&transport, b'b'));
        assert!(matches!(a, Err(ConnectionError::TooLong { len: 101, max: 100, .. })), "{a:?}");
        assert_eq!(b.expect("an answer").len(), 96);
        let c = request(&transport, b'c').await;
        assert!(matches!(c, Err(ConnectionError::TooLong { .. })), "{c:?}");
        assert_eq!(request(&transport, b'd').await.expect("an answer"), "short");
        assert!(transport.is_usable());
    };
    tokio::join!(asking, peer);
}

#[tokio::test]
async fn unsolicited_response_and_drop_close_the_stream() {
    let (transport, mut peer) = connected(limits());
    answer(&mut peer, 3, b"unasked").await;
    assert_eq!(peer.read(&mut [0]).await.expect("an end"), 0);
    check_protocol(request(&transport, b'a').await, "response to request 3, which was not sent");
    let (transport, mut peer) = connected(limits());
    drop(transport);
    assert_eq!(peer.read(&mut [0]).await.expect("an end"), 0);
}

#[track_caller]
fn check_silent(result: &Result<Bytes, ConnectionError>) {
    assert!(matches!(result, Err(ConnectionError::Silent { after, .. }) if *after == TIMEOUT), "{result:?}");
}

#[tokio::test(start_paused = true)]
async fn request_is_not_blamed_for_the_way_and_for_the_one_before_it() {
    let (transport, mut peer) = connected(limits());
    let started = Instant::now();
    let at = |millis| sleep_until(started + Duration::from_millis(millis));
    let peer = async {
        for (id, millis) in [(0, 20), (1, 340), (2, 341), (3, 1_020)] {
            at(millis).await;
            answer(&mut peer, id, b"").await;
        }
    };
    let requests = async {
        let first = timed(&transport, b'a').await;
        let (second, third) = tokio::join!(timed(&transport, b'b'), timed(&transport, b'c'));
        at(900).await;
        [first, second, third, timed(&transport, b'd').await]
    };
    let (answered, ()) = tokio::join!(requests, peer);
    let took = answered.map(|answered| answered.expect("an answer").1.as_millis());
    assert_eq!(took, [0, 300, 1, 100]);
    assert_eq!(transport.shortest().as_millis(), 20);
}

#[tokio::test(start_paused = true)]
async fn request_times_out_alone() {
    let (transport, mut peer) = connected(limits());
    let started = Instant::now();
    let a = async {
        check_silent(&request(&transport, b'a').await);
        assert_eq!(started.elapsed(), TIMEOUT);
        assert!(transport.is_usable());
    };
    let b = async {
        sleep_until(started + TIMEOUT / 2).await;
        request(&transport, b'b').await
    };
    let peer = async {
        take(&mut peer, b"ab").await;
        sleep_until(started + TIMEOUT * 5 / 4).await;
        assert_eq!(silent_since(&transport), Some(started));
        answer(&mut peer, 0, b"late").await;
        // From here on it is the turn of the other one.
        sleep_until(started + TIMEOUT * 17 / 8).await;
        assert_eq!(silent_since(&transport), Some(started + TIMEOUT * 5 / 4));
        answer(&mut peer, 1, b"for b").await;
        peer
    };
    let ((), b, _open) = tokio::join!(a, b, peer);
    assert_eq!(b.expect("an answer"), "for b");
    assert!(transport.is_usable());
    assert_eq!(silent_since(&transport), None);
}

#[tokio::test(start_paused = true)]
async fn stream_closes_after_twice_the_timeout() {
    let (transport, _peer) = connected(limits());
    let started = Instant::now();
    let late = async {
        sleep_until(started + TIMEOUT * 3 / 2).await;
        request(&transport, b'b').await
    };
    let (a, b) = tokio::join!(request(&transport, b'a'), late);
    check_silent(&a);
    match b {
        Err(ConnectionError::Lost { cause, .. }) => assert_eq!(cause.kind(), io::ErrorKind::TimedOut),
        other => panic!("{other:?}"),
    }
    assert_eq!(started.elapsed(), TIMEOUT * 2);
    assert!(!transport.is_usable());
}

#[tokio::test(start_paused = true)]
async fn slow_response_does_not_time_out() {
    for len in [90, 200] {
        let (transport, peer) = connected(limits());
        let [a, b] = both(&transport, peer, async |peer| {
            for part in response(0, &vec![b'x'; len]).chunks(20) {
                tokio::time::sleep(TIMEOUT / 2).await;
                peer.write_all(part).await.expect("an open stream");
            }
            // Then nothing.
            if len > 100 {
                answer(peer, 1, b"for b").await;
            }
        })
        .await;
        match len {
            90 => {
                assert_eq!(a.expect("an answer").len(), 90);
                assert!(matches!(b, Err(ConnectionError::Silent { .. })), "{b:?}");
            }
            _ => {
                assert!(matches!(a, Err(ConnectionError::TooLong { len: 204, .. })), "{a:?}");
                assert_eq!(b.expect("an answer"), "for b");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn shorter_timeout_ends_first() {
    let (transport, _peer) = connected(limits());
    let started = Instant::now();
    let impatient = async {
        let permit = transport.reserve().await.expect("a permit");
        let result = transport.exchange(permit, vec![b'b'], TIMEOUT / 10).await;
        assert!(matches!(result, Err(ConnectionError::Silent { .. })), "{result:?}");
        assert_eq!(started.elapsed(), TIMEOUT / 10);
    };
    let (patient, ()) = tokio::join!(request(&transport, b'a'), impatient);
    check_silent(&patient);
    assert_eq!(started.elapsed(), TIMEOUT);
    assert!(transport.is_usable());
}

#[tokio::test(start_paused = true)]
async fn idle_stream_is_closed() {
    let max_idle = Duration::from_secs(60);
    let (transport, mut peer) = connected(Limits { max_idle: Some(max_idle), ..limits() });
    sleep_until(Instant::now() + max_idle / 2).await;
    let (answered, ()) = tokio::join!(request(&transport, b'a'), async {
        asked(&mut peer).await;
        answer(&mut peer, 0, b"").await;
    });
    answered.expect("an answer");
    let used = Instant::now();
    assert_eq!(peer.read(&mut [0]).await.expect("an end"), 0);
    let idle = used.elapsed();
    assert!((max_idle..=max_idle + 2 * TIMEOUT).contains(&idle), "{idle:?}");
    assert!(!transport.is_usable());
    let (unlimited, _peer) = connected(limits());
    sleep_until(Instant::now() + Duration::from_secs(1 << 30)).await;
    assert!(unlimited.is_usable());
}

#[tokio::test(start_paused = true)]
async fn peers_last_data_is_read_after_a_failed_write() {
    let (ours, mut theirs) = tokio::io::duplex(100);
    let (broken, _) = tokio::io::duplex(100);
    let address = Address { host: "peer".to_owned(), port: 1 };
    let transport = Transport::spawn(tokio::io::join(ours, broken), address, limits());
    let peer = async {
        sleep_until(Instant::now() + LAST_WORDS / 2).await;
        theirs.write_all(&[21, 3, 3, 0, 2, 2, 80]).await.expect("an open stream");
    };
    let (answered, ()) = tokio::join!(request(&transport, b'a'), peer);
    assert!(matches!(answered, Err(ConnectionError::Tls { retriable: false, .. })), "{answered:?}");
}
