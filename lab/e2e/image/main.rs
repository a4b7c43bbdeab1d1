//! Runs the bridge from its image, in podman: locked down as a cluster would, and against a Kafka with TLS whose CA it
//! finds only where the image has its own.

#![cfg(test)] // so that helpers, too, may fail as tests do

use std::process::{Command, Output};
use std::time::Duration;
use std::{env, fs};

use sluicegate_client::{Client, ProduceRecord};
use sluicegate_stack::folder::Folder;
use sluicegate_stack::http;
use sluicegate_stack::kafka::secured::{Secured, listener};
use sluicegate_stack::kafka::{Record, Write};
use sluicegate_stack::port::Port;
use sluicegate_stack::process::Process;

/// The argument is the image, an OCI layout in a tar archive.
#[tokio::main]
async fn main() {
    let archive = env::args().nth(1).expect("an archive");
    let image = Image(format!("oci-archive:{archive}"));
    let megabytes = fs::metadata(archive).unwrap().len() / 1_000_000;
    assert!(megabytes < 40, "{megabytes} MB");
    let version = text(&image.output(&[], &["--version"]).stdout);
    assert_eq!(version, format!("sluicegate-bridge {}", env!("CARGO_PKG_VERSION")));
    finds_certificates(&image);
    serves(&image).await;
}

/// Without certificates the reader refuses TLS, so that a successful check means that it has found some.
fn finds_certificates(image: &Image) {
    let tls = [
        "--env=SLUICEGATE_GATEWAY_SECRET=0123456789abcdef",
        "--env=SLUICEGATE_CLUSTERS__DEFAULT__BOOTSTRAP_SERVERS=kafka.example:9093",
        "--env=SLUICEGATE_CLUSTERS__DEFAULT__SECURITY_PROTOCOL=ssl",
    ];
    let checked = ["--config", "/etc/sluicegate/bridge.toml", "--check"];
    let found = image.output(&tls, &checked);
    assert!(found.status.success(), "{}", text(&found.stderr));
    let none = image.output(&[&tls[..], &["--env=SSL_CERT_FILE=/nowhere"]].concat(), &checked);
    assert!(text(&none.stderr).contains("the system has no CA certificates"), "{none:?}");
}

/// Writes and reads a record through librdkafka and the reader, and stops as asked.
async fn serves(image: &Image) {
    let folder = Folder::new("image").unwrap();
    let secured = Secured::start(Vec::new()).await.unwrap();
    let topic = secured.kafka.topic("image", 1, &[]).await.unwrap();
    secured.kafka.produce(&topic, 0, &[Record::of("first")], Write::default()).await.unwrap();
    let (bridge, admin) = (Port::pick().unwrap(), Port::pick().unwrap());
    let config = format!(
        "listen = \"{}\"\nadmin_listen = \"{}\"\n[write]\nclusters = [\"default\"]\n[clusters.default]\n\
         bootstrap.servers = \"{}\"\nsecurity.protocol = \"ssl\"\n",
        bridge.address(),
        admin.address(),
        secured.kafka.bootstrap_of(listener::SSL).unwrap(),
    );
    let config = folder.write("bridge.toml", &config).unwrap();
    let authority = folder.write("authority.pem", &secured.authority.pem()).unwrap();
    let name = format!("sluicegate-image-test-{}", std::process::id());
    let mut command = image.command(&[
        &format!("--name={name}"),
        &format!("--volume={}:/etc/sluicegate/bridge.toml:ro", config.display()),
        &format!("--volume={}:/etc/ssl/certs/ca-certificates.crt:ro", authority.display()),
    ]);
    command.arg(&image.0);
    let container = Container(name);
    let mut process = Process::spawn("the container", command, &folder.path().join("bridge.log")).unwrap();
    for path in ["/livez", "/readyz?cluster=default"] {
        let answers = async || match http::get(admin.address(), path).await?.status {
            200 => Ok(()),
            status => Err(format!("{path} says {status}")),
        };
        process.until("answer", START_WITHIN, answers).await.unwrap();
    }
    is_locked_down(&container);

    let url = format!("ws://{}/", bridge.address());
    let client = Client::builder(url).header("sluicegate-write", "true").connect().await.unwrap();
    client.ping("image").await.unwrap();
    let record = ProduceRecord {
        topic: topic.clone(),
        partition: Some(0),
        value: Some(b"second".to_vec().into()),
        ..ProduceRecord::default()
    };
    let written = client.produce(vec![record]).await.unwrap();
    assert!(written.iter().all(Result::is_ok), "{written:?}");
    assert_eq!(client.fetch(&topic, 0, 0).await.unwrap().messages.len(), 2);
    client.close().await.unwrap();

    podman(&["stop", "--time=20", &container.0]);
    let status = process.wait(START_WITHIN).await.unwrap();
    assert!(status.success(), "{status}");
}

/// Checks the kernel's view of the bridge's process.
fn is_locked_down(container: &Container) {
    let id = podman(&["inspect", "--format={{.State.Pid}}", &container.0]);
    let status = fs::read_to_string(format!("/proc/{id}/status")).unwrap();
    let line = |key: &str| status.lines().find(|line| line.starts_with(key)).unwrap_or_default();
    let groups = line("CapBnd:").trim_start_matches("CapBnd:").trim();
    assert!(groups.chars().all(|digit| digit == '0') && !groups.is_empty(), "capabilities {groups}");
    assert_eq!(podman(&["top", &container.0, "user"]).lines().last(), Some("65532"));
    let mounts = fs::read_to_string(format!("/proc/{id}/mountinfo")).unwrap();
    let root = mounts.lines().find(|line| line.split(' ').nth(4) == Some("/")).unwrap_or_default();
    let options = root.split(' ').nth(5).unwrap_or_default();
    assert!(options.split(',').any(|option| option == "ro"), "the root is {root}");
}

/// An image's name for podman.
struct Image(String);

impl Image {
    /// `podman run` with these options, without an image yet.
    fn command(&self, options: &[&str]) -> Command {
        let mut command = Command::new("podman");
        // Podman's default runtime rejects the cgroups of some systems, and its default limits those of some callers.
        command.args(["--runtime=runc", "run", "--ulimit=nofile=4096:4096", "--ulimit=nproc=4096:4096"]);
        command.args(["--rm", "--quiet", "--network=host", "--read-only", "--read-only-tmpfs=false"]);
        command.args(["--cap-drop=all", "--security-opt=no-new-privileges"]).args(options);
        command
    }

    fn output(&self, options: &[&str], arguments: &[&str]) -> Output {
        self.command(options).arg(&self.0).args(arguments).output().unwrap()
    }
}

/// A container, which is removed in the end whatever happens.
struct Container(String);

impl Drop for Container {
    fn drop(&mut self) {
        let _ = Command::new("podman").args(["rm", "--force", "--ignore", "--time=0", &self.0]).output();
    }
}

fn podman(arguments: &[&str]) -> String {
    let output = Command::new("podman").args(arguments).output().unwrap();
    assert!(output.status.success(), "podman {arguments:?}: {}", text(&output.stderr));
    text(&output.stdout)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim().to_owned()
}

const START_WITHIN: Duration = Duration::from_secs(30);
