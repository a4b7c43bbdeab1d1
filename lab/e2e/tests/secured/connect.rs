//! `--check --connect`: whether each cluster of a configuration answers, and which key to look at if not.

use sluicegate_stack::bridge;
use sluicegate_stack::folder::Folder;
use sluicegate_stack::kafka::secured::{READER, Secured, listener};
use sluicegate_stack::secrets::shown_in;

use crate::secured::section::Section;

#[tokio::test]
async fn check_connects_with_tls_and_credentials() {
    let kafka = Secured::shared().await.unwrap();
    let at = |listener: &str| kafka.kafka.bootstrap_of(listener).unwrap();
    let sasl = |name| Section::new(name, &at(listener::SASL_SSL), "sasl_ssl").trusting(kafka);
    let sections = [
        sasl("right").user("SCRAM-SHA-512", READER),
        sasl("stranger").user_with("SCRAM-SHA-512", READER, &sluicegate_stack::secrets::secret("wrong")),
        Section::new("foreign", &at(listener::FOREIGN), "ssl").trusting(kafka),
    ];
    let folder = Folder::new("connect").unwrap();
    let connect = async |sections: &[Section]| {
        let toml: String = sections.iter().map(|section| section.toml.as_str()).collect();
        let config = folder.write("bridge.toml", &toml).unwrap();
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
