//! Misconfigured or unreachable clusters: the log names the cause in bounded time, and the client gets a reference to
//! it.

use std::net::TcpListener;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream;
use sluicegate_protocol::ErrorResp;
use sluicegate_stack::certificates::Authority;
use sluicegate_stack::envoy::Profile;
use sluicegate_stack::folder::Folder;
use sluicegate_stack::kafka::secured::{READER, Secured, listener};
use sluicegate_stack::port::Port;
use sluicegate_stack::secrets::{secret, shown_in};
use sluicegate_stack::stack::Stack;
use sluicegate_stack::tokens::{Claims, Endpoint, TokenResponse};
use tokio::sync::OnceCell;
use tokio::time::Instant;

use crate::secured::gateway::{SharedGateway, open, readiness, start};
use crate::secured::logged::cause;
use crate::secured::section::{Section, endpoint, secured_endpoint};

#[tokio::test]
async fn faults_have_their_causes_in_the_log() {
    let stack = &gateway().await;
    // A few at a time, so that none is late for the sake of the others.
    stream::iter(&faulty().await.faults).for_each_concurrent(4, |fault| fault.check(stack)).await;
}

/// A section that does not work, and what the log says about it.
pub(crate) struct Fault {
    pub(crate) section: Section,
    /// Texts that the log line has to contain.
    words: &'static [&'static str],
    /// Whether it may go away without anyone changing the configuration.
    retriable: bool,
}

impl Fault {
    async fn check(&self, stack: &Stack) {
        let mut socket = open(stack, self.section.name).await;
        // The first attempt, and one that the first has taught the reader something for.
        for _ in 0..2 {
            let asked = Instant::now();
            let error = socket.fetch("any", 0, 0).await.unwrap_err();
            self.judge(stack, "failed to fetch message", &error, asked.elapsed());
            let asked = Instant::now();
            let error = socket.list_offset("any", 0, -1).await.unwrap_err();
            self.judge(stack, "failed to list offset", &error, asked.elapsed());
        }
        let (ready, took) = readiness(stack, self.section.name).await;
        assert_eq!((ready.status, ready.body.as_str()), (503, "not ready\n"), "{}", self.section.name);
        assert!(took < WITHIN, "{}: not ready after {took:?}", self.section.name);
        socket.ping().await;
    }

    #[track_caller]
    fn judge(&self, stack: &Stack, what: &str, error: &ErrorResp, took: Duration) {
        let start = format!("{what}, topic: any, partition: 0, err: ");
        assert!(error.message.starts_with(&start), "{error:?}");
        assert_eq!(error.retriable, self.retriable, "{}: {error:?}", self.section.name);
        let text = cause(stack, &error.message);
        let missing: Vec<&&str> = self.words.iter().filter(|word| !text.contains(**word)).collect();
        assert!(missing.is_empty(), "{}: {text:?} lacks {missing:?}", self.section.name);
        assert!(took < WITHIN, "{}: {text:?} took {took:?}", self.section.name);
        assert_eq!(shown_in(&text), [""; 0], "{text}");
    }
}

/// The gateway to all of them.
pub(crate) async fn gateway() -> SharedGateway {
    static GATEWAY: OnceCell<Stack> = OnceCell::const_new();
    let begin = async || {
        let sections: Vec<Section> =
            faulty().await.faults.iter().map(|fault| fault.section.clone()).collect();
        start(Profile::Tunnel, &sections, "").await
    };
    SharedGateway::of(GATEWAY.get_or_init(begin).await)
}

/// The faults, and what they refer to.
pub(crate) struct Faulty {
    pub(crate) faults: Vec<Fault>,
    _folder: Folder,
    _endpoints: Vec<Endpoint>,
    /// Nobody listens there.
    _nobody: Port,
    /// Its clients are connected and never served.
    _silent: TcpListener,
}

pub(crate) async fn faulty() -> &'static Faulty {
    static FAULTY: OnceCell<Faulty> = OnceCell::const_new();
    FAULTY.get_or_init(async || make(Secured::shared().await.unwrap())).await
}

fn make(kafka: &Secured) -> Faulty {
    let folder = Folder::new("faults").unwrap();
    let file = |name: &str, content: &str| folder.write(name, content).unwrap();
    let at = |listener: &str| kafka.kafka.bootstrap_of(listener).unwrap();
    let plain_listener = kafka.kafka.bootstrap();
    let nobody = Port::pick().unwrap();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent_address = silent.local_addr().unwrap().to_string();

    let client_secret = secret("of-another-bridge");
    let endpoint = |response| endpoint(kafka, &client_secret, READER, response);
    let token = endpoint(TokenResponse::Token(HOUR));
    let silence = endpoint(TokenResponse::Silence);
    let failure = endpoint(TokenResponse::Failure);
    let nonsense = endpoint(TokenResponse::Nonsense);
    let expired = endpoint(TokenResponse::Expired);
    let distrusted = secured_endpoint(kafka, &client_secret, READER, TokenResponse::Token(HOUR));

    let old = Claims::new(READER, HOUR);
    let old = Claims { issued: old.issued - 2 * HOUR, ..old };
    let old_token = file("expired-token", &old.unsecured());
    let nonsense_token = file("nonsense-token", &secret("no-token.at-all"));
    let strangers = Authority::new("strangers").unwrap();
    let stranger = strangers.client(READER).unwrap();
    let wrong = secret("wrong-password");

    let ssl = |name, listener: &str| Section::new(name, &at(listener), "ssl").trusting(kafka);
    let sasl = |name| Section::new(name, &at(listener::SASL), "sasl_plaintext");
    let bearer = |name| Section::new(name, &at(listener::UNSECURED), "sasl_plaintext");
    let oidc = |name, url: &str| {
        Section::new(name, &at(listener::OIDC), "sasl_ssl").trusting(kafka).oidc(url, &client_secret)
    };
    let mut faults = Vec::new();
    let mut fault = |section: Section, words: &'static [&'static str], retriable| {
        let section = section
            .with("socket.timeout.ms", &TIMEOUT.as_millis().to_string())
            .with("socket.connection.setup.timeout.ms", &SETUP_TIMEOUT.as_millis().to_string());
        faults.push(Fault { section, words, retriable });
    };

    fault(Section::new("unreachable", &nobody.address().to_string(), "plaintext"), &["refused"], true);
    fault(Section::new("silent", &silent_address, "plaintext"), &["no response from"], true);
    fault(Section::new("silenttls", &silent_address, "ssl").trusting(kafka), &["no response from"], true);

    fault(
        Section::new("tlsonplain", &plain_listener, "ssl").trusting(kafka),
        &["TLS", "is it a PLAINTEXT one?"],
        false,
    );
    fault(Section::new("plainontls", &at(listener::SSL), "plaintext"), &["security.protocol", "TLS"], false);
    fault(
        Section::new("saslonplain", &plain_listener, "sasl_plaintext").user("PLAIN", READER),
        &["takes no SASL"],
        false,
    );
    fault(
        Section::new("saslontls", &at(listener::SASL_SSL), "sasl_plaintext").user("PLAIN", READER),
        &["security.protocol", "TLS"],
        false,
    );
    // A broker that is stopping does the same.
    fault(
        Section::new("plainonsasl", &at(listener::SASL), "plaintext"),
        &["security.protocol", "SASL"],
        true,
    );

    fault(ssl("foreign", listener::FOREIGN), &["not signed by a trusted CA"], false);
    fault(ssl("expired", listener::EXPIRED), &["certificate expired"], false);
    fault(
        ssl("misnamed", listener::MISNAMED),
        &["certificate is for kafka.example, not for localhost"],
        false,
    );
    fault(
        ssl("nocertificate", listener::MTLS),
        &["demands a client certificate", "ssl.certificate.location"],
        false,
    );
    fault(
        ssl("foreigncertificate", listener::MTLS)
            .with("ssl.certificate.pem", &stranger.certificate)
            .with("ssl.key.pem", &stranger.key),
        &["refused the client certificate"],
        false,
    );

    let expired_token = &["SASL_AUTHENTICATION_FAILED", "the token expired 1 h ago"];
    let authentication = &["SASL_AUTHENTICATION_FAILED"];
    fault(sasl("wrongplain").user_with("PLAIN", READER, &wrong), authentication, false);
    fault(sasl("wrongscram256").user_with("SCRAM-SHA-256", READER, &wrong), authentication, false);
    fault(sasl("wrongscram512").user_with("SCRAM-SHA-512", READER, &wrong), authentication, false);
    fault(sasl("unknownuser").user_with("SCRAM-SHA-512", "nobody", &wrong), authentication, false);
    fault(bearer("mechanism").user("PLAIN", READER), &["`PLAIN` is not enabled", "OAUTHBEARER"], false);

    fault(
        bearer("notoken").token_file(&folder.path().join("missing")),
        &["no readable token", "missing"],
        false,
    );
    fault(bearer("expiredtoken").token_file(&old_token), expired_token, false);
    fault(bearer("nonsensetoken").token_file(&nonsense_token), authentication, false);

    let down = format!("http://{}/token", nobody.address());
    fault(oidc("endpointdown", &down), &["token endpoint", "refused"], true);
    fault(oidc("endpointsilent", &silence.url()), &["token endpoint", "did not answer in time"], true);
    fault(
        Section::new("endpointrefuses", &at(listener::OIDC), "sasl_ssl")
            .trusting(kafka)
            .oidc(&token.url(), &wrong),
        &["token endpoint", "401"],
        false,
    );
    fault(oidc("endpointfails", &failure.url()), &["token endpoint", "500"], true);
    fault(oidc("endpointnonsense", &nonsense.url()), &["token endpoint", "access_token"], false);
    fault(oidc("endpointexpired", &expired.url()), expired_token, false);

    fault(
        oidc("endpointdistrusted", &distrusted.url()).with("https.ca.pem", &strangers.pem()),
        &["token endpoint", "certificate is not signed by a trusted CA", "https.ca.location"],
        false,
    );

    let endpoints = vec![token, silence, failure, nonsense, expired, distrusted];
    Faulty { faults, _folder: folder, _endpoints: endpoints, _nobody: nobody, _silent: silent }
}

const HOUR: Duration = Duration::from_secs(3600);
/// `socket.timeout.ms` of every section here.
const TIMEOUT: Duration = Duration::from_secs(2);
/// `socket.connection.setup.timeout.ms` of every section here.
const SETUP_TIMEOUT: Duration = Duration::from_millis(1_500);
/// The longer of both, and what a busy machine takes.
const WITHIN: Duration = Duration::from_millis(3_500);
