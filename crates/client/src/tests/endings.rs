//! Ends of sessions.

use super::*;

#[tokio::test]
async fn close_waits_for_the_answer() {
    let (client, server) = session(async |mut peer: Peer| {
        let close = peer.message().await;
        peer.message().await;
        close
    })
    .await;
    assert_eq!(client.close().await, Ok(()));
    let Some(Message::Close(Some(frame))) = server.await.unwrap() else { panic!("not a Close") };
    assert_eq!(frame.code, CloseCode::Normal);
}

#[tokio::test]
async fn close_times_out() {
    let (client, _server) = session(async |peer: Peer| {
        std::future::pending::<()>().await;
        drop(peer);
    })
    .await;
    tokio::time::pause();
    assert!(matches!(client.close().await, Err(Error::Timeout { .. })));
}

#[tokio::test]
async fn server_close_fails_all_commands_and_is_echoed() {
    let away = CloseFrame { code: CloseCode::Away, reason: "drain".into() };
    for (frame, code, reason) in [(Some(away), 1001, "drain"), (None, 1005, "")] {
        let sent = frame.clone();
        let (client, server) = session(async |mut peer: Peer| {
            peer.ping().await;
            peer.send(Message::Close(sent)).await;
            peer.message().await
        })
        .await;
        let closed = Error::Closed { code, reason: reason.to_owned() };
        for _ in 0..2 {
            assert_eq!(client.ping("").await, Err(closed.clone()));
        }
        let Some(Message::Close(echo)) = server.await.unwrap() else { panic!("no echo") };
        assert_eq!(echo.map(|echo| echo.code), frame.map(|frame| frame.code));
        assert_eq!(client.close().await, Err(closed));
    }
}

#[tokio::test]
async fn lost_connection_fails_all_commands() {
    let (client, _server) = session(async |mut peer: Peer| {
        peer.ping().await;
    })
    .await;
    for _ in 0..2 {
        assert!(matches!(client.ping("").await, Err(Error::Lost { .. })));
    }
    assert!(matches!(client.close().await, Err(Error::Lost { .. })));
}

#[tokio::test]
async fn protocol_violation_closes_with_1002() {
    let wrong_command = Resp::ErrorResp(ErrorResp { message: "wrong command".into(), ..Default::default() });
    let wrong_command = PubSubResp { sequence: 0, resp: Some(wrong_command) }.encode_to_vec();
    for (name, message) in [
        ("bytes that are no answer", Message::Binary(Bytes::from_static(&[0xFF; 9]))),
        ("a cut answer", Message::Binary(Bytes::from_static(&[0xFA, 0x01, 0x05]))),
        ("an empty answer", Message::Binary(Bytes::new())),
        ("a text", Message::Text("hello".into())),
        ("a request not understood", Message::Binary(wrong_command.into())),
    ] {
        let (client, server) = session(async |mut peer: Peer| {
            peer.ping().await;
            peer.send(message).await;
            peer.message().await
        })
        .await;
        let first = client.ping("").await.unwrap_err();
        assert!(matches!(first, Error::Protocol { .. }), "{name}: {first:?}");
        assert_eq!(client.ping("").await, Err(first), "{name}");
        let end = server.await.unwrap();
        let Some(Message::Close(Some(frame))) = end else { panic!("{name}: {end:?}") };
        assert_eq!(frame.code, CloseCode::Protocol, "{name}");
    }
}

#[tokio::test]
async fn oversized_answer_ends_the_session() {
    let (client, peer) = connected(|builder| builder.max_message_bytes(1000)).await;
    tokio::spawn(peer.answer_pings());
    client.ping(vec![0; 900]).await.unwrap();
    assert!(matches!(client.ping(vec![0; 1001]).await, Err(Error::Protocol { .. })));
}

#[tokio::test]
async fn invalid_frame_ends_the_session() {
    let (client, _server) = session(async |mut peer: Peer| {
        peer.ping().await;
        peer.raw().write_all(&[0xFF; 64]).await.unwrap();
        peer.message().await
    })
    .await;
    assert!(matches!(client.ping("").await, Err(Error::Protocol { .. })));
}
