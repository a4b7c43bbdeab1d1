//! Two clusters with the same brokers keep two identities, however their requests interleave.

use std::time::Duration;

use futures_util::future::join_all;
use sluicegate_protocol::ErrorResp;
use sluicegate_stack::envoy::Profile;
use sluicegate_stack::kafka::secured::{OUTSIDER, READER, Secured, listener, password};
use sluicegate_stack::secrets::secret;
use sluicegate_stack::socket::Socket;
use sluicegate_stack::stack::Stack;
use sluicegate_stack::tokens::{Endpoint, TokenResponse};

use crate::secured::gateway::{open, own};
use crate::secured::records::{Log, log};
use crate::secured::section::{Section, endpoint};

/// Two sections: the first may read, the second may not.
struct Pair {
    allowed: Section,
    denied: Section,
    /// The refusal of the second.
    refusal: Refusal,
}

#[derive(Clone, Copy)]
enum Refusal {
    Topic,
    Authentication,
}

#[tokio::test]
async fn clusters_at_once_keep_their_identities() {
    let kafka = Secured::shared().await.unwrap();
    let log = log(&kafka.kafka).await;
    let pairs = Pairs::new(kafka);
    let stack = own(Profile::Tunnel, &pairs.sections(), "").await;
    for pair in &pairs.pairs {
        // The sockets alternate, and so do their requests.
        join_all((0..2 * SOCKETS).map(|number| turns(&stack, pair, log, number % 2 == 0))).await;
    }
}

async fn turns(stack: &Stack, Pair { allowed, denied, refusal }: &Pair, log: &Log, may: bool) {
    let name = if may { allowed.name } else { denied.name };
    let mut socket = open(stack, name).await;
    for _ in 0..TURNS {
        if may {
            let end = i64::try_from(log.messages.len()).unwrap();
            assert_eq!(socket.list_offset(&log.topic, 0, -1).await, Ok(end), "{name}");
            let read = socket.fetch(&log.topic, 0, 0).await.unwrap();
            assert_eq!(read, log.messages[..read.len()], "{name}");
        } else {
            refusal.check(&mut socket, log, name).await;
        }
    }
}

impl Refusal {
    /// Both commands are refused, and for this reason.
    async fn check(self, socket: &mut Socket, log: &Log, name: &str) {
        self.judge(&socket.fetch(&log.topic, 0, 0).await.unwrap_err(), name);
        self.judge(&socket.list_offset(&log.topic, 0, -1).await.unwrap_err(), name);
    }

    #[track_caller]
    fn judge(self, error: &ErrorResp, name: &str) {
        let (code, why) = match self {
            Self::Topic => (TOPIC_AUTHORIZATION_FAILED, "TOPIC_AUTHORIZATION_FAILED"),
            Self::Authentication => (BROKER_NOT_AVAILABLE, "no broker of the cluster is reachable"),
        };
        assert_eq!((error.code, error.retriable), (code, false), "{name}: {error:?}");
        assert!(error.message.contains(why), "{name}: {error:?}");
    }
}

/// One for every way in which two clients of the same brokers can differ.
struct Pairs {
    pairs: Vec<Pair>,
    _endpoints: [Endpoint; 2],
}

impl Pairs {
    fn new(kafka: &Secured) -> Self {
        let at = |listener: &str| kafka.kafka.bootstrap_of(listener).unwrap();
        let client_secret = secret("of-two-bridges");
        let endpoints = [READER, OUTSIDER].map(|user| {
            endpoint(kafka, &client_secret, user, TokenResponse::Token(Duration::from_secs(3600)))
        });
        let outsider = kafka.authority.client(OUTSIDER).unwrap();

        let scram = |name, user| {
            Section::new(name, &at(listener::SASL_SSL), "sasl_ssl")
                .trusting(kafka)
                .user("SCRAM-SHA-512", user)
        };
        let plain = |name| Section::new(name, &at(listener::SASL), "sasl_plaintext");
        let oidc = |name, endpoint: &Endpoint| {
            let section = Section::new(name, &at(listener::OIDC), "sasl_ssl").trusting(kafka);
            section.oidc(&endpoint.url(), &client_secret)
        };
        let mtls = |name, identity: &sluicegate_stack::certificates::Certificate| {
            Section::new(name, &at(listener::MTLS), "ssl")
                .trusting(kafka)
                .with("ssl.certificate.pem", &identity.certificate)
                .with("ssl.key.pem", &identity.key)
        };
        let pair = |allowed, denied, refusal| Pair { allowed, denied, refusal };
        let pairs = vec![
            pair(scram("user1", READER), scram("user2", OUTSIDER), Refusal::Topic),
            pair(oidc("token1", &endpoints[0]), oidc("token2", &endpoints[1]), Refusal::Topic),
            pair(mtls("certificate1", &kafka.reader), mtls("certificate2", &outsider), Refusal::Topic),
            // The same user.
            pair(
                plain("password1").user("PLAIN", READER),
                plain("password2").user_with("PLAIN", READER, &password(OUTSIDER)),
                Refusal::Authentication,
            ),
            // Nobody, who may do all, and somebody who may not, of the same broker at different ports.
            pair(
                Section::new("anyone", &kafka.kafka.bootstrap(), "plaintext"),
                plain("someone").user("PLAIN", OUTSIDER),
                Refusal::Topic,
            ),
        ];
        Self { pairs, _endpoints: endpoints }
    }

    fn sections(&self) -> Vec<Section> {
        self.pairs.iter().flat_map(|pair| [pair.allowed.clone(), pair.denied.clone()]).collect()
    }
}

const BROKER_NOT_AVAILABLE: i32 = 8;
const TOPIC_AUTHORIZATION_FAILED: i32 = 29;
/// Of each identity.
const SOCKETS: usize = 16;
const TURNS: usize = 10;
