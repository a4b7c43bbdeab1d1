//! Reads offsets and a whole log over each security protocol.

use std::time::Duration;

use sluicegate_stack::envoy::Profile;
use sluicegate_stack::folder::Folder;
use sluicegate_stack::kafka::secured::{READER, Secured, listener, password};
use sluicegate_stack::secrets::secret;
use sluicegate_stack::stack::Stack;
use sluicegate_stack::tokens::{Claims, Endpoint, TokenResponse};
use tokio::sync::OnceCell;

use crate::secured::gateway::{SharedGateway, open, readiness, start};
use crate::secured::records::log;
use crate::secured::section::{Section, encrypted, endpoint, secured_endpoint};

#[tokio::test]
async fn secured_clusters_are_read() {
    let stack = gateway().await;
    for section in &readable().await.sections {
        check(&stack, section.name).await;
    }
}

async fn check(stack: &Stack, name: &str) {
    let log = log(&Secured::shared().await.unwrap().kafka).await;
    let mut socket = open(stack, name).await;
    log.check(&mut socket, name).await;
    let (ready, _) = readiness(stack, name).await;
    assert_eq!((ready.status, ready.body.as_str()), (200, "ok\n"), "{name}");
}

/// The gateway to all of them.
pub(crate) async fn gateway() -> SharedGateway {
    static GATEWAY: OnceCell<Stack> = OnceCell::const_new();
    let begin = async || start(Profile::Tunnel, &readable().await.sections, "").await;
    SharedGateway::of(GATEWAY.get_or_init(begin).await)
}

/// The sections, and what they refer to.
pub(crate) struct Readable {
    pub(crate) sections: Vec<Section>,
    _folder: Folder,
    _endpoints: [Endpoint; 2],
}

pub(crate) async fn readable() -> &'static Readable {
    static READABLE: OnceCell<Readable> = OnceCell::const_new();
    READABLE.get_or_init(async || make(Secured::shared().await.unwrap())).await
}

fn make(kafka: &Secured) -> Readable {
    let folder = Folder::new("readable").unwrap();
    let file = |name: &str, content: &str| folder.write(name, content).unwrap();
    let at = |listener: &str| kafka.kafka.bootstrap_of(listener).unwrap();

    let authority = file("authority.pem", &kafka.authority.pem());
    let certificate = file("reader.pem", &kafka.reader.certificate);
    let key = file("reader-key.pem", &kafka.reader.key);
    let key_password = secret("password-of-a-key");
    let locked = file("reader-locked.pem", &encrypted(&kafka.reader.key, &key_password));
    // As an editor leaves it.
    let reader_password = file("password", &format!("{}\n", password(READER)));
    let token = Claims::new(READER, Duration::from_secs(3600)).unsecured();
    let token = file("token", &token);
    let client_secret = secret("of-the-bridge");
    let response = TokenResponse::Token(Duration::from_secs(3600));
    let endpoint = endpoint(kafka, &client_secret, READER, response);
    let secured_endpoint = secured_endpoint(kafka, &client_secret, READER, response);

    let ssl = |name, listener: &str| Section::new(name, &at(listener), "ssl");
    let sasl = |name| Section::new(name, &at(listener::SASL), "sasl_plaintext");
    let sasl_ssl = |name| Section::new(name, &at(listener::SASL_SSL), "SASL_SSL").trusting(kafka);
    let oidc = |name| Section::new(name, &at(listener::OIDC), "sasl_ssl").trusting(kafka);
    let sections = vec![
        ssl("ssl", listener::SSL).trusting(kafka),
        ssl("unverified", listener::FOREIGN).with("enable.ssl.certificate.verification", "false"),
        ssl("anyname", listener::MISNAMED)
            .with("ssl.ca.location", authority.to_str().unwrap())
            .with("ssl.endpoint.identification.algorithm", "none"),
        ssl("mtls", listener::MTLS)
            .trusting(kafka)
            .with("ssl.certificate.pem", &kafka.reader.certificate)
            .with("ssl.key.pem", &kafka.reader.key),
        ssl("mtlsfiles", listener::MTLS)
            .with_file("ssl.ca.pem", &authority)
            .with_file("ssl.certificate.pem", &certificate)
            .with_variable_file("ssl.key.pem", &key),
        ssl("mtlsencrypted", listener::MTLS)
            .with("ssl.ca.location", authority.to_str().unwrap())
            .with("ssl.certificate.location", certificate.to_str().unwrap())
            .with("ssl.key.location", locked.to_str().unwrap())
            .with("ssl.key.password", &key_password),
        sasl("plain").user("PLAIN", READER),
        sasl("scram256")
            .with("sasl.mechanism", "SCRAM-SHA-256")
            .with("sasl.username", READER)
            .with_file("sasl.password", &reader_password),
        sasl("scram512")
            .with("sasl.mechanisms", "SCRAM-SHA-512")
            .with_variable("sasl.username", READER)
            .with_variable("sasl.password", &password(READER)),
        sasl_ssl("tlsplain")
            .with("sasl.mechanism", "PLAIN")
            .with("sasl.username", READER)
            .with_variable_file("sasl.password", &reader_password),
        sasl_ssl("tlsscram256").user("SCRAM-SHA-256", READER),
        sasl_ssl("tlsscram512").user("SCRAM-SHA-512", READER),
        Section::new("token", &at(listener::UNSECURED), "sasl_plaintext").token_file(&token),
        oidc("oidc").oidc(&endpoint.url(), &client_secret),
        oidc("oidctls")
            .oidc(&secured_endpoint.url(), &client_secret)
            .with("https.ca.pem", &kafka.authority.pem()),
    ];
    Readable { sections, _folder: folder, _endpoints: [endpoint, secured_endpoint] }
}
