//! Clients whose identity expires, is renewed or revoked.

use futures_util::FutureExt;
use sluicegate_delivery::grant::{Holding, Person};
use sluicegate_protocol::{AuthResp, CmdAuth, CmdSession, SessionExpiringResp, SessionResp};
use sluicegate_rights::{Rights, Topics};

use super::*;

/// Takes lists of topics for tokens, and grants their reading for so long.
struct Issuer {
    grant: Grant,
    lasts: Duration,
}

impl Renew for Issuer {
    fn renew<'a>(&'a self, token: &'a str) -> BoxFuture<'a, Result<(), CommandError>> {
        async move {
            let topics = Topics::parse(token.as_bytes()).filter(|_| token != "forged");
            let topics = topics.ok_or_else(|| CommandError::forbidden(29, "the token is forged"))?;
            let rights = Rights { read: Some(topics), write: None, ..Rights::default() };
            self.grant.renew(rights, alice(self.lasts));
            Ok(())
        }
        .boxed()
    }
}

fn alice(lasts: Duration) -> Holding {
    let person = Person::new(Some("issuer".into()), Some("alice".into()), None, None);
    Holding { person: Arc::new(person), expires: Some(Instant::now() + lasts) }
}

/// A session whose identity lasts 100 s, and 1,000 s after each renewal.
fn start() -> (Peer, Holding) {
    let holding = alice(Duration::from_secs(100));
    let granted = |grant: Grant| {
        let grant = grant.held(Some(holding.clone()), None);
        let issuer = Issuer { grant: grant.clone(), lasts: Duration::from_secs(1000) };
        Granted { grant, renewal: Some(Arc::new(issuer)) }
    };
    let never = |limits: &mut Limits| limits.ping_interval = Duration::from_secs(100_000);
    (Peer::granted(Overload::StopReading, never, granted), holding)
}

fn auth(token: &str) -> Req {
    Req::CmdAuth(CmdAuth { token: token.into() })
}

fn fetched(resp: &Resp) -> bool {
    matches!(resp, Resp::KafkaFetchResp(_))
}

#[tokio::test(start_paused = true)]
async fn session_ends_when_its_identity_is_revoked() {
    let began = Instant::now();
    let (mut peer, holding) = start();
    peer.ask(1, fetch(60_000, 10)).await;
    peer.ask(2, ping(b"")).await;
    assert_eq!(peer.answer().await.0, 2);
    holding.person.revoke();
    let (answers, end) = peer.rest().await;
    assert_eq!(answers.last(), Some(&close(3000, "identity revoked")));
    assert_eq!(end, End::Over(TermCause::Revoked));
    assert!(began.elapsed() < Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn client_that_asked_is_told_before_each_expiry() {
    let began = Instant::now();
    let (mut peer, _) = start();
    peer.ask(7, Req::CmdSession(CmdSession::default())).await;
    let limits = SessionResp { max_message_bytes: 1 << 20, expires_in_ms: Some(100_000) };
    assert_eq!(peer.answer().await, (7, Resp::SessionResp(limits)));
    let expiring = |answer| match answer {
        (7, Resp::SessionExpiringResp(SessionExpiringResp { expires_in_ms })) => expires_in_ms,
        other => panic!("{other:?}"),
    };
    // A quarter of its life before, or a little later.
    let left = expiring(peer.answer().await);
    assert!((12_000..=25_000).contains(&left), "{left}");
    peer.ask(8, auth("0")).await;
    assert_eq!(peer.answer().await, (8, Resp::AuthResp(AuthResp { expires_in_ms: Some(1_000_000) })));
    let left = expiring(peer.answer().await);
    assert!((29_000..=60_000).contains(&left), "{left}");
    let renewed = 100 - 25;
    peer.expect_close(3000, "identity expired").await;
    assert!(began.elapsed().as_secs() >= 1000 + renewed);
}

#[tokio::test(start_paused = true)]
async fn commands_after_a_renewal_have_its_rights() {
    let (mut peer, _) = start();
    // It waits while its topic is taken away.
    peer.ask(1, fetch(5_000, 10)).await;
    peer.ask(2, auth("7")).await;
    assert!(matches!(peer.answer().await, (2, Resp::AuthResp(_))));
    peer.ask(3, fetch(7, 10)).await;
    peer.ask(4, fetch(8, 10)).await;
    let (mut answers, denied) = (BTreeMap::new(), "failed to fetch message, topic: 8,");
    while answers.len() < 3 {
        let (sequence, resp) = peer.answer().await;
        answers.insert(sequence, resp);
    }
    assert!(fetched(&answers[&3]));
    assert!(error_of(&answers[&4]).starts_with(denied), "{:?}", answers[&4]);
    assert!(error_of(&answers[&1]).starts_with("failed to fetch message, topic: 5000,"), "{:?}", answers[&1]);
    // Nor can it write any more.
    peer.ask(5, produce(0, "v")).await;
    error_of(&peer.answer().await.1);
}

#[tokio::test(start_paused = true)]
async fn failed_renewal_changes_nothing() {
    let began = Instant::now();
    let (mut peer, _) = start();
    peer.ask(1, auth("forged")).await;
    assert_eq!(error_of(&peer.answer().await.1), "failed to renew the identity, err: the token is forged");
    peer.ask(2, fetch(8, 10)).await;
    assert!(fetched(&peer.answer().await.1));
    peer.ask(3, auth("")).await;
    peer.ask(4, auth(&"x".repeat(8193))).await;
    for _ in [3, 4] {
        error_of(&peer.answer().await.1);
    }
    assert_eq!(peer.expect_close(3000, "identity expired").await, End::Over(TermCause::Identity));
    assert_eq!(began.elapsed().as_secs(), 100);
}

#[tokio::test(start_paused = true)]
async fn session_without_an_issuer_is_not_renewed() {
    let mut peer = Peer::start();
    peer.ask(1, auth("0")).await;
    assert!(error_of(&peer.answer().await.1).contains("no identity that can be renewed"));
    peer.ask(2, Req::CmdSession(CmdSession::default())).await;
    let limits = SessionResp { max_message_bytes: 1 << 20, expires_in_ms: None };
    assert_eq!(peer.answer().await, (2, Resp::SessionResp(limits)));
}
