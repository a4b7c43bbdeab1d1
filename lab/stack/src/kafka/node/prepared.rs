//! What each start of Kafka needs, and is made once, beside its jars: the records of a new cluster, and an archive of the
//! classes of a node. They spare each node the formatter's JVM and half of its own start.

use std::collections::hash_map::DefaultHasher;
use std::fs;
use std::hash::{Hash, Hasher};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tokio::task::spawn_blocking;

use super::{Ports, Setup};
use crate::folder::{Folder, lock};
use crate::process::Process;
use crate::{Error, tools};

/// The records of a new cluster: its features, and its users for SCRAM.
pub(super) struct Prepared {
    records: PathBuf,
}

impl Prepared {
    /// Of a cluster that is formatted with these arguments. Makes what is missing; other processes wait meanwhile.
    pub(super) async fn of(format: &[String]) -> Result<Self, Error> {
        let mut hasher = DefaultHasher::new();
        format.hash(&mut hasher);
        let home = home()?;
        let prepared = Self { records: home.join(format!("formatted-{:016x}.checkpoint", hasher.finish())) };
        if !prepared.records.exists() || !home.join(CLASSES).exists() {
            let path = home.join("prepared.lock");
            let locked = spawn_blocking(move || lock(&path)).await;
            let _one_at_a_time = locked.map_err(|error| Error::failed("lock Kafka")(error))??;
            prepared.make(&home, format).await?;
        }
        Ok(prepared)
    }

    async fn make(&self, home: &Path, format: &[String]) -> Result<(), Error> {
        let folder = Folder::new("prepared")?;
        let (setup, data) = (Setup::default(), folder.path().join("data"));
        let ports = Ports::pick(1, &setup)?;
        let text = ports.server_properties(&setup, &ports.voter(), &data);
        let properties = folder.write("node.properties", &text)?;
        // A file that has its name is whole.
        let publish = |new: &Path, path: &Path| {
            fs::rename(new, path).map_err(Error::failed(format!("write {}", path.display())))
        };
        let new = home.join("new");
        // Of a process that was killed.
        let _ = fs::remove_file(&new);
        if !self.records.exists() {
            let mut command = java("kafka.tools.StorageTool", &[])?;
            command.args(["format", "-t", CLUSTER_ID, "-c"]).arg(&properties).args(format);
            let mut formatter = Process::spawn(FORMATTER, command, &folder.path().join("format.log"))?;
            let status = formatter.wait(WITHIN).await?;
            if !status.success() {
                return Err(Error::Ended { part: FORMATTER, status, tail: formatter.log_tail() });
            }
            let written = [RECORDS, RECORDS_SINCE_4_4].map(|name| data.join(name));
            let written = written.iter().find(|path| path.exists()).unwrap_or(&data);
            fs::copy(written, &new).map_err(Error::failed("copy what Kafka's formatter wrote"))?;
            publish(&new, &self.records)?;
        }
        let classes = home.join(CLASSES);
        if !classes.exists() {
            let _ = fs::remove_dir_all(&data);
            self.format(&data, 1)?;
            let mut command = java("kafka.Kafka", &[format!("-XX:ArchiveClassesAtExit={}", new.display())])?;
            command.arg(&properties);
            let mut node = Process::spawn("Kafka", command, &folder.path().join("kafka.log"))?;
            node.until("listen", WITHIN, async || ports.client.listens().await).await?;
            node.terminate();
            node.wait(WITHIN).await?;
            // Not every Java makes one.
            if new.exists() {
                publish(&new, &classes)?;
            }
        }
        Ok(())
    }

    /// Makes the data folder of a node, as Kafka's formatter does.
    pub(super) fn format(&self, data: &Path, id: usize) -> Result<(), Error> {
        let written = || -> io::Result<()> {
            fs::create_dir(data)?;
            fs::copy(&self.records, data.join(RECORDS))?;
            fs::write(
                data.join("meta.properties"),
                format!("version=1\nnode.id={id}\ncluster.id={CLUSTER_ID}\n"),
            )
        };
        written().map_err(Error::failed(format!("format {}", data.display())))
    }
}

/// The command of one of Kafka's programs, without arguments.
pub(in crate::kafka) fn java(class: &str, options: &[String]) -> Result<Command, Error> {
    let (lib, classes) = (lib()?, home()?.join(CLASSES));
    let mut command = Command::new("java");
    command
        .args(["-Xmx512m", "-XX:+UseSerialGC"])
        // In a few minutes, Java's second compiler does not pay off: it takes a third of the start.
        .args(["-XX:TieredStopAtLevel=1"])
        .arg("-Dorg.slf4j.simpleLogger.defaultLogLevel=warn")
        // Makes input and output independent of the locale.
        .args(["-Dfile.encoding=UTF-8", "-Dstdout.encoding=UTF-8"]);
    if classes.exists() {
        // Another Java than the one that made it ignores it, and must not say so in output that is compared.
        command.args([format!("-XX:SharedArchiveFile={}", classes.display()), "-Xlog:disable".to_owned()]);
    }
    command.args(options).arg("-cp").arg(lib.join("*")).arg(class);
    Ok(command)
}

/// Where what is prepared is kept.
fn home() -> Result<PathBuf, Error> {
    let lib = lib()?;
    Ok(lib.parent().map(Path::to_owned).unwrap_or(lib))
}

/// The jars. The path has no links: an archive is of jars with exactly these paths.
fn lib() -> Result<PathBuf, Error> {
    fs::canonicalize(tools::kafka_lib()?).map_err(Error::failed("find Kafka"))
}

/// 16 bytes in URL-safe base64.
const CLUSTER_ID: &str = "c2x1aWNlZ2F0ZS10ZXN0cw";
/// The file of a data folder that has a new cluster's records.
const RECORDS: &str = "bootstrap.checkpoint";
/// The same where the formatter of Kafka 4.4 writes it: a snapshot of the metadata's log. Its nodes take either.
const RECORDS_SINCE_4_4: &str = "__cluster_metadata-0/00000000000000000000-0000000000.checkpoint";
const CLASSES: &str = "classes.jsa";
const FORMATTER: &str = "Kafka's formatter";
const WITHIN: Duration = Duration::from_secs(180);
