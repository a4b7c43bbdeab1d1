//! The lifetime of authenticated connections, against a broker at the other end of a pipe.

use std::pin::pin;
use std::sync::LazyLock;

use bytes::Bytes;
use kafka_protocol::messages::api_versions_response::{ApiVersion, ApiVersionsResponse};
use kafka_protocol::messages::list_offsets_response::{
    ListOffsetsPartitionResponse, ListOffsetsResponse, ListOffsetsTopicResponse,
};
use kafka_protocol::messages::{SaslAuthenticateResponse, SaslHandshakeResponse, TopicName};
use kafka_protocol::protocol::{Encodable, HeaderVersion, decode_request_header_from_buffer};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::time::sleep_until;

use super::*;
use crate::api::tests::sent;
use crate::api::{AskedOffset, ListOffsetsRequest, SaslHandshakeRequest};
use crate::redact::Secret;
use crate::sasl::tests::{Endpoint, granted, pass};
use crate::sasl::{Credentials, Sasl, TokenSource};

const PATIENCE: Duration = Duration::from_secs(1_000);
pub(crate) static QUESTION: LazyLock<ListOffsetsRequest> = LazyLock::new(|| {
    let asked = AskedOffset { topic: "t".to_owned(), partition: 0, timestamp: -1, leader_epoch: -1 };
    ListOffsetsRequest { committed: false, partitions: vec![asked] }
});

/// The next request's key, version and correlation id.
pub(crate) async fn asked(peer: &mut DuplexStream) -> (i16, i16, i32) {
    let len = peer.read_i32().await.expect("a request");
    let mut frame = vec![0; usize::try_from(len).expect("a length")];
    peer.read_exact(&mut frame).await.expect("a request");
    let header = decode_request_header_from_buffer(&mut Bytes::from(frame)).expect("a header");
    (header.request_api_key, header.request_api_version, header.correlation_id)
}

async fn answer<R: Encodable + HeaderVersion>(peer: &mut DuplexStream, version: i16, id: i32, response: &R) {
    let body = [&id.to_be_bytes()[..], &sent(response, version)].concat();
    peer.write_i32(i32::try_from(body.len()).expect("a short response")).await.expect("an open pipe");
    peer.write_all(&body).await.expect("an open pipe");
}

fn offset() -> ListOffsetsResponse {
    let partition = ListOffsetsPartitionResponse::default().with_offset(7);
    let topic = ListOffsetsTopicResponse::default()
        .with_name(TopicName(StrBytes::from_static_str("t")))
        .with_partitions(vec![partition]);
    ListOffsetsResponse::default().with_topics(vec![topic])
}

/// A new connection to a broker that serves these requests, by key and latest version, and that broker.
pub(crate) async fn connected(
    name: &str,
    limits: Limits,
    serves: &[(i16, i16)],
) -> (Connection, DuplexStream) {
    let (ours, mut peer) = tokio::io::duplex(1 << 16);
    let broker = async {
        let keys =
            serves.iter().map(|(key, max)| ApiVersion::default().with_api_key(*key).with_max_version(*max));
        let response = ApiVersionsResponse::default().with_api_keys(keys.collect());
        let (_, version, id) = asked(&mut peer).await;
        answer(&mut peer, version, id, &response).await;
    };
    let address = Address { host: name.to_owned(), port: 1 };
    let (connection, ()) = tokio::join!(Connection::handshake(ours, address, "me", limits, PATIENCE), broker);
    (connection.expect("a connection"), peer)
}

const LIMITS: Limits = Limits { in_flight: 2, max_response: 1 << 20, max_idle: None };

/// A connection whose authentication was answered with `response`, and its broker.
async fn authenticated_with(
    sasl: &Sasl,
    response: SaslAuthenticateResponse,
) -> (Result<Connection, ConnectionError>, DuplexStream) {
    let (mut connection, mut peer) = connected("peer", LIMITS, &[(2, 7), (17, 1), (36, 2)]).await;
    let broker = async {
        let (key, version, id) = asked(&mut peer).await;
        assert_eq!((key, version), (17, 1));
        answer(&mut peer, version, id, &SaslHandshakeResponse::default()).await;
        let (key, version, id) = asked(&mut peer).await;
        assert_eq!((key, version), (36, 2));
        answer(&mut peer, version, id, &response).await;
    };
    let (lifetime, ()) = tokio::join!(sasl.authenticate(&connection, Instant::now() + PATIENCE), broker);
    let connection = lifetime.map(|lifetime| {
        connection.authenticated(lifetime);
        connection
    });
    (connection, peer)
}

/// A connection whose authentication holds for so many milliseconds, as its broker says, and that broker.
async fn authenticated(lifetime: i64) -> (Connection, DuplexStream) {
    let sasl = Sasl::Plain(Credentials { username: "u".to_owned(), password: Secret::new("p") });
    let response = SaslAuthenticateResponse::default().with_session_lifetime_ms(lifetime);
    let (connection, peer) = authenticated_with(&sasl, response).await;
    (connection.expect("a connection"), peer)
}

#[tokio::test]
async fn rejection_of_an_accepted_token_is_retriable() {
    let endpoint = Endpoint::start(|_| granted("t", 3_600)).await;
    let sasl = Sasl::OAuthBearer(TokenSource::Oidc(endpoint.source(None)), Vec::new());
    let refusal = || SaslAuthenticateResponse::default().with_error_code(58);
    let lasts = |answer: Result<Connection, ConnectionError>| match answer.err() {
        Some(ConnectionError::Authentication { retriable, .. }) => !retriable,
        other => panic!("{other:?}"),
    };
    assert!(lasts(authenticated_with(&sasl, refusal()).await.0), "none was ever taken");
    let taken = authenticated_with(&sasl, SaslAuthenticateResponse::default()).await.0;
    taken.expect("a connection");
    assert!(lasts(authenticated_with(&sasl, refusal()).await.0), "it is new");
    pass(Duration::from_secs(60)).await;
    assert!(!lasts(authenticated_with(&sasl, refusal()).await.0), "the next one may be taken");
    assert!(lasts(authenticated_with(&sasl, refusal()).await.0), "it is new");
}

#[tokio::test(start_paused = true)]
async fn connection_retires_before_its_authentication_expires() {
    let (connection, mut peer) = authenticated(100_000).await;
    let started = Instant::now();
    sleep_until(started + Duration::from_secs(84)).await;
    assert!(connection.is_usable());
    let slot = connection.try_reserve().expect("a slot");
    {
        let mut call = pin!(slot.call(&*QUESTION, PATIENCE));
        let (_, version, id) = tokio::select! {
            _ = &mut call => panic!("nobody answered"),
            asked = asked(&mut peer) => asked,
        };

        sleep_until(started + Duration::from_millis(95_001)).await;
        assert!(!connection.is_usable());
        let refused = connection.clone().reserve().await.err();
        assert!(matches!(refused, Some(ConnectionError::Lost { .. })), "{refused:?}");

        // The owner of connections drops this one now.
        drop(connection);
        sleep_until(started + Duration::from_secs(200)).await;
        answer(&mut peer, version, id, &offset()).await;
        let answered = call.await.expect("an answer");
        assert_eq!(answered.answer[&("t".to_owned(), 0)].offset, 7);
    }
    assert_eq!(peer.read(&mut [0]).await.expect("an end"), 0);
    // 0 is no limit.
    let (unlimited, _peer) = authenticated(0).await;
    sleep_until(Instant::now() + Duration::from_secs(1 << 30)).await;
    assert!(unlimited.is_usable());
}

#[tokio::test]
async fn loss_before_any_response_suggests_sasl() {
    let (connection, peer) = connected("peer", LIMITS, &[(2, 7)]).await;
    let unknown = SaslHandshakeRequest { mechanism: "PLAIN" };
    let refused = connection.try_reserve().expect("a slot").call(&unknown, PATIENCE).await.err();
    assert!(matches!(refused, Some(ConnectionError::Protocol { .. })), "{refused:?}");

    let slot = connection.try_reserve().expect("a slot");
    drop(peer);
    match slot.call(&*QUESTION, PATIENCE).await.err() {
        Some(ConnectionError::Lost { cause, .. }) => {
            assert!(cause.to_string().contains("check whether the listener requires SASL"), "{cause}");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn connections_retire_at_different_times() {
    let used: Vec<u64> = (0..1_000).map(|_| usable_lifetime(Duration::from_secs(100)).as_secs()).collect();
    assert_eq!((used.iter().min(), used.iter().max()), (Some(&85), Some(&95)));
}
