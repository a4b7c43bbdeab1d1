//! Runs the bridge from its image, in podman: locked down as a cluster would, and against a Kafka with TLS whose CA it
//! finds only where the image has its own.

use std::error::Error;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Output};
use std::time::Duration;

use clap::Parser;
use sluicegate_client::{Client, ProduceRecord};
use sluicegate_stack::folder::Folder;
use sluicegate_stack::http;
use sluicegate_stack::kafka::secured::{Secured, listener};
use sluicegate_stack::kafka::{Record, Write};
use sluicegate_stack::port::Port;
use sluicegate_stack::process::Process;

type Failure = Box<dyn Error>;

/// Runs the bridge from its image
#[derive(Parser)]
#[command(name = "image")]
struct Args {
    /// The image, an OCI layout in a tar archive
    archive: PathBuf,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(&Args::parse().archive).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "image-test: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(archive: &Path) -> Result<(), Failure> {
    let image = Image(format!("oci-archive:{}", archive.display()));
    let megabytes = fs::metadata(archive)?.len() / 1_000_000;
    check("is smaller than 40 MB", megabytes < 40, &format!("{megabytes} MB"))?;
    let version = image.output(&[], &["--version"])?;
    let said = text(&version.stdout);
    check("says its version", said == format!("sluicegate-bridge {}", env!("CARGO_PKG_VERSION")), &said)?;
    finds_certificates(&image)?;
    serves(&image).await
}

/// Without certificates the reader refuses TLS, so that a successful check means that it has found some.
fn finds_certificates(image: &Image) -> Result<(), Failure> {
    let tls = [
        "--env=SLUICEGATE_GATEWAY_SECRET=0123456789abcdef",
        "--env=SLUICEGATE_CLUSTERS__DEFAULT__BOOTSTRAP_SERVERS=kafka.example:9093",
        "--env=SLUICEGATE_CLUSTERS__DEFAULT__SECURITY_PROTOCOL=ssl",
    ];
    let checked = ["--config", "/etc/sluicegate/bridge.toml", "--check"];
    let found = image.output(&tls, &checked)?;
    check("has CA certificates", found.status.success(), &text(&found.stderr))?;
    let none = image.output(&[&tls[..], &["--env=SSL_CERT_FILE=/nowhere"]].concat(), &checked)?;
    let said = text(&none.stderr);
    check("has none elsewhere", said.contains("the system has no CA certificates"), &said)
}

/// Writes and reads a record through librdkafka and the reader, and stops as asked.
async fn serves(image: &Image) -> Result<(), Failure> {
    let folder = Folder::new("image")?;
    let secured = Secured::start(Vec::new()).await?;
    let topic = secured.kafka.topic("image", 1, &[]).await?;
    secured.kafka.produce(&topic, 0, &[Record::of("first")], Write::default()).await?;
    let (bridge, admin) = (Port::pick()?, Port::pick()?);
    let config = folder.write(
        "bridge.toml",
        &format!(
            "listen = \"{}\"\nadmin_listen = \"{}\"\n[write]\nclusters = [\"default\"]\n[clusters.default]\n\
             bootstrap.servers = \"{}\"\nsecurity.protocol = \"ssl\"\n",
            bridge.address(),
            admin.address(),
            secured.kafka.bootstrap_of(listener::SSL)?,
        ),
    )?;
    let authority = folder.write("authority.pem", &secured.authority.pem())?;
    let name = format!("sluicegate-image-test-{}", std::process::id());
    let mut command = image.command(&[
        &format!("--name={name}"),
        &format!("--volume={}:/etc/sluicegate/bridge.toml:ro", config.display()),
        &format!("--volume={}:/etc/ssl/certs/ca-certificates.crt:ro", authority.display()),
    ]);
    command.arg(&image.0);
    let container = Container(name);
    let mut process = Process::spawn("the container", command, &folder.path().join("bridge.log"))?;
    for path in ["/livez", "/readyz?cluster=default"] {
        let answers = async || match http::get(admin.address(), path).await?.status {
            200 => Ok(()),
            status => Err(format!("{path} says {status}")),
        };
        process.until("answer", START_WITHIN, answers).await?;
        check(&format!("answers {path}"), true, "")?;
    }
    is_locked_down(&container)?;

    let url = format!("ws://{}/", bridge.address());
    let client = Client::builder(url).header("sluicegate-write", "true").connect().await?;
    client.ping("image").await?;
    let record = ProduceRecord {
        topic: topic.clone(),
        partition: Some(0),
        value: Some(b"second".to_vec().into()),
        ..ProduceRecord::default()
    };
    let written = client.produce(vec![record]).await?;
    check("writes with TLS", written.iter().all(Result::is_ok), &format!("{written:?}"))?;
    let fetched = client.fetch(&topic, 0, 0).await?;
    check("reads with TLS", fetched.messages.len() == 2, &format!("{fetched:?}"))?;
    client.close().await?;

    podman(&["stop", "--time=20", &container.0])?;
    let status = process.wait(START_WITHIN).await?;
    check("stops with status 0", status.success(), &status.to_string())
}

/// Checks the kernel's view of the bridge's process.
fn is_locked_down(container: &Container) -> Result<(), Failure> {
    let id = podman(&["inspect", "--format={{.State.Pid}}", &container.0])?;
    let status = fs::read_to_string(format!("/proc/{id}/status"))?;
    let line = |key: &str| status.lines().find(|line| line.starts_with(key)).unwrap_or_default();
    let groups = line("CapBnd:").trim_start_matches("CapBnd:").trim();
    check("has no capability", groups.chars().all(|digit| digit == '0') && !groups.is_empty(), groups)?;
    let user = podman(&["top", &container.0, "user"])?;
    check("runs as 65532", user.lines().last() == Some("65532"), &user)?;
    let mounts = fs::read_to_string(format!("/proc/{id}/mountinfo"))?;
    let root = mounts.lines().find(|line| line.split(' ').nth(4) == Some("/")).unwrap_or_default();
    let options = root.split(' ').nth(5).unwrap_or_default();
    check("has a read-only root", options.split(',').any(|option| option == "ro"), root)
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

    fn output(&self, options: &[&str], arguments: &[&str]) -> Result<Output, Failure> {
        Ok(self.command(options).arg(&self.0).args(arguments).output()?)
    }
}

/// A container, which is removed in the end whatever happens.
struct Container(String);

impl Drop for Container {
    fn drop(&mut self) {
        let _ = Command::new("podman").args(["rm", "--force", "--ignore", "--time=0", &self.0]).output();
    }
}

fn podman(arguments: &[&str]) -> Result<String, Failure> {
    let output = Command::new("podman").args(arguments).output()?;
    if output.status.success() {
        Ok(text(&output.stdout))
    } else {
        Err(format!("podman {}: {}", arguments.join(" "), text(&output.stderr)).into())
    }
}

fn check(what: &str, holds: bool, seen: &str) -> Result<(), Failure> {
    let _ = writeln!(std::io::stdout(), "{} {what}", if holds { "ok  " } else { "FAIL" });
    if holds { Ok(()) } else { Err(format!("the image {what}: not so: {seen}").into()) }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim().to_owned()
}

const START_WITHIN: Duration = Duration::from_secs(30);
