//! Misconfigured or unreachable clusters: the log names the cause in bounded time, and the client gets a reference to
//! it.

use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream;
use sluicegate_protocol::ErrorResp;
use sluicegate_stack::bridge;
use sluicegate_stack::certificates::Authority;
use sluicegate_stack::folder::Folder;
use sluicegate_stack::http;
use sluicegate_stack::kafka::secured::{READER, Secured, listener};
use sluicegate_stack::port::Port;
use sluicegate_stack::secrets::{secret, shown_in};
use sluicegate_stack::stack::Stack;
use sluicegate_stack::tokens::Claims;
use tokio::time::Instant;

use crate::secured::gateway::{cause, open, readiness, with};
use crate::secured::section::{Section, endpoint};

/// A section that does not work, texts that the log has to contain, and whether it may go away without anyone changing the
/// configuration.
type Fault = (Section, &'static [&'static str], bool);

#[tokio::test]
async fn faults_have_their_causes_in_the_log() {
    let kafka = Secured::shared().await.unwrap();
    let folder = Folder::new("faults").unwrap();
    let at = |listener: &str| kafka.kafka.bootstrap_of(listener).unwrap();
    let plain_listener = kafka.kafka.bootstrap();
    let nobody = Port::pick().unwrap();
    let client_secret = secret("of-another-bridge");
    let token = endpoint(kafka, &client_secret, READER, false);
    let distrusted = endpoint(kafka, &client_secret, READER, true);
    let old = Claims::new(READER, HOUR);
    let old = Claims { issued: old.issued - 2 * HOUR, ..old };
    let old_token = folder.write("expired-token", &old.unsecured()).unwrap();
    let strangers = Authority::new("strangers").unwrap();
    let wrong = secret("wrong-password");

    let plain = |name, address: &str| Section::new(name, address, "plaintext");
    let ssl = |name, address: &str| Section::new(name, address, "ssl").trusting(kafka);
    let sasl = |name, address: &str| Section::new(name, address, "sasl_plaintext");
    let oidc = |name, url: &str, secret: &str| {
        Section::new(name, &at(listener::OIDC), "sasl_ssl").trusting(kafka).oidc(url, secret)
    };
    let unsecured = at(listener::UNSECURED);
    let down = format!("http://{}/token", nobody.address());
    let faults: [Fault; 13] = [
        (plain("unreachable", &nobody.address().to_string()), &["refused"], true),
        (ssl("tlsonplain", &plain_listener), &["TLS", "is it a PLAINTEXT one?"], false),
        (plain("plainontls", &at(listener::SSL)), &["security.protocol", "TLS"], false),
        (sasl("saslonplain", &plain_listener).user("PLAIN", READER), &["takes no SASL"], false),
        (
            sasl("saslontls", &at(listener::SASL_SSL)).user("PLAIN", READER),
            &["security.protocol", "TLS"],
            false,
        ),
        // A broker that is stopping does the same.
        (plain("plainonsasl", &at(listener::SASL)), &["security.protocol", "SASL"], true),
        (
            sasl("wrongplain", &at(listener::SASL)).user_with("PLAIN", READER, &wrong),
            &["SASL_AUTHENTICATION_FAILED"],
            false,
        ),
        (
            sasl("unknownuser", &at(listener::SASL)).user_with("SCRAM-SHA-512", "nobody", &wrong),
            &["SASL_AUTHENTICATION_FAILED"],
            false,
        ),
        (
            sasl("mechanism", &unsecured).user("PLAIN", READER),
            &["`PLAIN` is not enabled", "OAUTHBEARER"],
            false,
        ),
        (
            sasl("expiredtoken", &unsecured).token_file(&old_token),
            &["SASL_AUTHENTICATION_FAILED", "the token expired 1 h ago"],
            false,
        ),
        (oidc("endpointdown", &down, &client_secret), &["token endpoint", "refused"], true),
        (oidc("endpointrefuses", &token.url(), &wrong), &["token endpoint", "401"], false),
        (
            oidc("endpointdistrusted", &distrusted.url(), &client_secret)
                .with("https.ca.pem", &strangers.pem()),
            &["token endpoint", "certificate is not signed by a trusted CA", "https.ca.location"],
            false,
        ),
    ];
    let faults = faults.map(|(section, words, retriable)| {
        let section = section.with("socket.timeout.ms", "2000");
        (section.with("socket.connection.setup.timeout.ms", "1500"), words, retriable)
    });
    let sections = faults.each_ref().map(|(section, ..)| section.clone());
    let gateway = with(&sections, &[]).await;
    let stack = &*gateway;
    // A few at a time, so that none is late for the sake of the others.
    stream::iter(&faults).for_each_concurrent(4, |fault| check(stack, fault)).await;
    let metrics = http::get(stack.bridge.admin(), "/metrics").await.unwrap().text().to_owned();
    assert_eq!(shown_in(&metrics), [""; 0]);
}

async fn check(stack: &Stack, fault: &Fault) {
    let name = fault.0.name;
    let mut socket = open(stack, name).await;
    // The first attempt, and one that the first has taught the reader something for.
    for _ in 0..2 {
        let asked = Instant::now();
        let error = socket.fetch("any", 0, 0).await.unwrap_err();
        judge(stack, fault, "failed to fetch message", &error, asked.elapsed());
        let asked = Instant::now();
        let error = socket.list_offset("any", 0, -1).await.unwrap_err();
        judge(stack, fault, "failed to list offset", &error, asked.elapsed());
    }
    let asked = Instant::now();
    assert_eq!(readiness(stack, name).await, (503, "not ready\n".to_owned()), "{name}");
    assert!(asked.elapsed() < WITHIN, "{name}: not ready after {:?}", asked.elapsed());
    socket.ping().await;
}

#[track_caller]
fn judge(stack: &Stack, (section, words, retriable): &Fault, what: &str, error: &ErrorResp, took: Duration) {
    let name = section.name;
    let start = format!("{what}, topic: any, partition: 0, err: ");
    assert!(error.message.starts_with(&start), "{error:?}");
    assert_eq!(error.retriable, *retriable, "{name}: {error:?}");
    let text = cause(stack, &error.message);
    let missing: Vec<&&str> = words.iter().filter(|word| !text.contains(**word)).collect();
    assert!(missing.is_empty(), "{name}: {text:?} lacks {missing:?}");
    assert!(took < WITHIN, "{name}: {text:?} took {took:?}");
    assert_eq!(shown_in(&format!("{text}{error:?}")), [""; 0], "{text}");
}

/// `--check --connect`: whether each cluster of a configuration answers, and which key to look at if not.
#[tokio::test]
async fn check_connects_with_tls_and_credentials() {
    let kafka = Secured::shared().await.unwrap();
    let at = |listener: &str| kafka.kafka.bootstrap_of(listener).unwrap();
    let sasl = |name| Section::new(name, &at(listener::SASL_SSL), "sasl_ssl").trusting(kafka);
    let sections = [
        sasl("right").user("SCRAM-SHA-512", READER),
        sasl("stranger").user_with("SCRAM-SHA-512", READER, &secret("wrong")),
        Section::new("foreign", &at(listener::FOREIGN), "ssl").trusting(kafka),
    ];
    let folder = Folder::new("connect").unwrap();
    let connect = async |sections: &[Section]| {
        let toml = sections
            .iter()
            .map(|Section { name, properties, .. }| format!("[clusters.{name}]\n{properties}"));
        let config = folder.write("bridge.toml", &toml.collect::<String>()).unwrap();
        let output = bridge::connect(&config).await.unwrap();
        let [stdout, stderr] = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap());
        assert_eq!(shown_in(&format!("{stdout}{stderr}")), [""; 0]);
        (output.status.code(), stdout, stderr.replace(&format!("{}: ", config.display()), ""))
    };
    let right = "clusters.right: connected to 1 broker\n";
    assert_eq!(connect(&sections[..1]).await, (Some(0), right.to_owned(), String::new()));
    let (code, stdout, stderr) = connect(&sections).await;
    assert_eq!((code, &*stdout), (Some(1), right));
    let [foreign, stranger] = stderr.lines().collect::<Vec<_>>()[..] else { panic!("{stderr}") };
    assert!(foreign.starts_with("clusters.foreign.security.protocol: no broker of "), "{foreign}");
    assert!(foreign.contains("certificate"), "{foreign}");
    assert!(stranger.starts_with("clusters.stranger.sasl.username: no broker of "), "{stranger}");
    assert!(stranger.contains("authentication with "), "{stranger}");
}

const HOUR: Duration = Duration::from_secs(3600);
/// The longer of both timeouts, and what a busy machine takes.
const WITHIN: Duration = Duration::from_millis(3_500);
