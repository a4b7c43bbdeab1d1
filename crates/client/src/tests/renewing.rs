//! Clients that log in: a token for each connection, and another one before it expires.

use std::sync::atomic::{AtomicU32, Ordering};

use sluicegate_protocol::{AuthResp, SessionExpiringResp};

use super::server::accept_with;
use super::*;
use crate::LoginError;

/// A client with numbered tokens, the number of the next one, and the server of its session.
async fn logged_in(listener: &TcpListener, url: String) -> (Client, Arc<AtomicU32>, Peer) {
    let calls = Arc::new(AtomicU32::new(1));
    let counted = Arc::clone(&calls);
    let builder = Client::builder(url).header("authorization", "Basic other").refresh(move || {
        let number = counted.fetch_add(1, Ordering::Relaxed);
        async move { Ok(format!("token-{number}")) }
    });
    let connecting = tokio::spawn(builder.connect());
    let (peer, login) = accept(listener).await;
    assert_eq!(login, ["authorization: Bearer token-1"]);
    (connecting.await.unwrap().unwrap(), calls, peer)
}

/// The next session, and what it was opened with.
async fn accept(listener: &TcpListener) -> (Peer, Vec<String>) {
    accept_with(listener, &["authorization"]).await
}

async fn shown(peer: &mut Peer) -> (i64, String) {
    match peer.request().await {
        (sequence, Req::CmdAuth(auth)) => (sequence, auth.token),
        other => panic!("not a renewal: {other:?}"),
    }
}

fn failed(retriable: bool) -> Resp {
    Resp::ErrorResp(ErrorResp { message: "no".into(), retriable, ..Default::default() })
}

#[tokio::test]
async fn identity_is_renewed_on_the_open_session() {
    let (listener, url) = listener().await;
    let (client, calls, mut peer) = logged_in(&listener, url).await;
    let limits = SessionResp { max_message_bytes: 1 << 20, ..Default::default() };
    let asked = peer.tell_limits(Resp::SessionResp(limits)).await;
    let expiring = Resp::SessionExpiringResp(SessionExpiringResp { expires_in_ms: 1000 });
    for (token, answer) in [
        ("token-2", Resp::AuthResp(AuthResp::default())),
        // An issuer whose keys cannot be read, for a moment.
        ("token-3", failed(true)),
        ("token-4", Resp::AuthResp(AuthResp::default())),
        ("token-5", failed(false)),
    ] {
        if token != "token-4" {
            peer.answer(asked, expiring.clone()).await;
        }
        let (sequence, with) = shown(&mut peer).await;
        assert_eq!(with, token);
        peer.answer(sequence, answer).await;
    }
    // A refused renewal is not repeated.
    let pinging = tokio::spawn(async move { client.ping("p").await });
    let (sequence, state) = peer.ping().await;
    peer.pong(sequence, state).await;
    assert!(pinging.await.unwrap().is_ok());
    assert_eq!(calls.load(Ordering::Relaxed), 6, "after five calls");
    // The session is over once nobody holds it.
    assert!(matches!(peer.message().await, Some(Message::Close(_))));
}

#[tokio::test]
async fn subscription_continues_with_another_token() {
    let (listener, url) = listener().await;
    let (client, _, mut peer) = logged_in(&listener, url).await;
    let asked = peer.tell_limits(Resp::SessionResp(SessionResp::default())).await;
    peer.answer(asked, Resp::SessionExpiringResp(SessionExpiringResp::default())).await;
    let (sequence, _) = shown(&mut peer).await;
    peer.answer(sequence, failed(false)).await;
    // The client has taken the refusal.
    let pinged = async {
        let (sequence, state) = peer.ping().await;
        peer.pong(sequence, state).await;
    };
    tokio::join!(client.ping("p"), pinged).0.unwrap();
    let mut updates = client.subscribe(Subscribe::new([Source::new("t")]));
    assert!(matches!(peer.request().await.1, Req::CmdKafkaSubscribe(CmdKafkaSubscribe { .. })));
    let over = CloseFrame { code: 3000.into(), reason: "identity expired".into() };
    peer.send(Message::Close(Some(over))).await;
    let update = updates.next().await.unwrap().unwrap();
    let Update::Reconnecting { error: Error::Closed { reason, .. }, .. } = update else {
        panic!("{update:?}")
    };
    assert_eq!(reason, "identity expired: no", "with the reason of the refused renewal");
    let (_, login) = accept(&listener).await;
    assert_eq!(login, ["authorization: Bearer token-3"]);
}

#[tokio::test]
async fn calls_of_refresh_never_overlap() {
    let (listener, url) = listener().await;
    let running = Arc::new(AtomicU32::new(0));
    let builder = Client::builder(url).refresh(move || {
        let running = Arc::clone(&running);
        async move {
            assert_eq!(running.fetch_add(1, Ordering::Relaxed), 0);
            tokio::task::yield_now().await;
            running.fetch_sub(1, Ordering::Relaxed);
            Ok("token".into())
        }
    });
    let both = async { (accept(&listener).await, accept(&listener).await) };
    let (one, other, _) = tokio::join!(builder.clone().connect(), builder.connect(), both);
    assert!(one.is_ok() && other.is_ok());
}

#[tokio::test]
async fn failed_login_opens_no_connection() {
    let (listener, url) = listener().await;
    let refused = LoginError { detail: "logged out".into(), retriable: false };
    let why = refused.clone();
    let client = Client::builder(&url).refresh(move || std::future::ready(Err(why.clone())));
    match client.connect().await {
        Err(ConnectError::Login(why)) => assert_eq!(why, refused),
        other => panic!("{other:?}"),
    }
    let client = Client::builder(&url).refresh(|| std::future::ready(Ok("s3cret\n".into())));
    let why = client.connect().await.unwrap_err();
    assert!(matches!(why, ConnectError::Login(LoginError { retriable: false, .. })), "{why:?}");
    assert!(!format!("{why} {why:?}").contains("s3cret"));
    assert!(futures_util::FutureExt::now_or_never(listener.accept()).is_none());
}
