//! Invalid security settings stop the bridge at start, with the property and the accepted values.

use sluicegate_tests::folder::Folder;
use sluicegate_tests::kafka::secured::{READER, password};
use sluicegate_tests::secrets::{secret, shown_in};
use sluicegate_tests::{Error, bridge};

use crate::section::Section;

/// The bridge says all of these of the section, and no secret.
async fn refuses(section: Section, words: &[&str]) {
    let folder = Folder::new("configuration").unwrap();
    let config = folder.write("bridge.toml", &section.toml).unwrap();
    match bridge::check(&config, &section.environment).await {
        Err(Error::Configuration(said)) => {
            let missing: Vec<&&str> = words.iter().filter(|word| !said.contains(**word)).collect();
            assert!(missing.is_empty(), "{said:?} lacks {missing:?}");
            assert_eq!(shown_in(&said), [""; 0], "{said}");
        }
        other => panic!("{other:?} of {}", section.toml),
    }
}

fn section(protocol: &str) -> Section {
    Section::new("default", "localhost:9092", protocol)
}

#[tokio::test]
async fn unknown_properties_are_refused() {
    let password = password(READER);
    refuses(
        section("sasl_ssl").with("sasl.pasword", &password),
        &["clusters.default.sasl.pasword", "not a librdkafka property", "did you mean `sasl.password`?"],
    )
    .await;
    refuses(
        section("plaintext").with("enable_tls", "true"),
        &["enable_tls", "not a librdkafka property", "set `security.protocol`"],
    )
    .await;
}

#[tokio::test]
async fn properties_that_reads_ignore_are_refused() {
    refuses(
        section("sasl_ssl").with("sasl.mechanism", "GSSAPI"),
        &["sasl.mechanism", "GSSAPI", "`PLAIN`, `SCRAM-SHA-256`, `SCRAM-SHA-512` or `OAUTHBEARER`"],
    )
    .await;
    refuses(
        section("sasl_tls").user("PLAIN", READER),
        &["security.protocol", "sasl_tls", "plaintext", "ssl", "sasl_plaintext", "sasl_ssl"],
    )
    .await;
    refuses(section("ssl").with("ssl.keystore.location", "/etc/keystore.p12"), &["ssl.keystore.location"])
        .await;
}

#[tokio::test]
async fn missing_and_contradicting_properties_are_refused() {
    refuses(section("sasl_ssl"), &["sasl.mechanism", "is required"]).await;
    let no_password = section("sasl_ssl").with("sasl.mechanism", "PLAIN").with("sasl.username", READER);
    refuses(no_password, &["sasl.password", "is required"]).await;
    // It would have been sent to nobody, in the clear or not.
    refuses(section("plaintext").user("PLAIN", READER), &["sasl.password", "security.protocol"]).await;
    refuses(section("ssl").user("PLAIN", READER), &["sasl.password", "security.protocol"]).await;
}

#[tokio::test]
async fn unusable_files_and_keys_are_refused() {
    let folder = Folder::new("configuration").unwrap();
    let missing = folder.path().join("missing");
    refuses(
        section("sasl_ssl").with("sasl.mechanism", "PLAIN").with_file("sasl.password", &missing),
        &["sasl.password", "missing", "No such file"],
    )
    .await;
    refuses(section("ssl").with("ssl.ca.pem", "no certificate"), &["ssl.ca.pem", "PEM"]).await;
    let key = secret("no-key");
    refuses(
        section("ssl").with("ssl.key.pem", &key).with("ssl.certificate.pem", "none either"),
        &["ssl.key.pem", "ssl.certificate.pem"],
    )
    .await;
}
