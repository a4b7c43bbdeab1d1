//! A script in Node that drives a real browser. It asks for what it cannot do itself, such as killing the bridge, line
//! by line.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;

use crate::folder::Folder;
use crate::process::Process;
use crate::{Error, tools};

/// Runs `lab/e2e/browser/SCRIPT` to its end. `answer` does what a line asks for, and returns the line for the script.
pub async fn run(
    script: &str,
    args: &[&str],
    within: Duration,
    mut answer: impl AsyncFnMut(&str) -> String,
) -> Result<(), Error> {
    let folder = Folder::new("browser")?;
    let listener = TcpListener::bind("127.0.0.1:0").await.map_err(Error::failed("listen for the script"))?;
    let port = listener.local_addr().map_err(Error::failed("listen for the script"))?.port();
    let mut node = tools::typescript(&format!("lab/e2e/browser/{script}"))?;
    node.arg(port.to_string()).args(args).env("TMPDIR", folder.path());
    let mut process = Process::spawn("the browser's script", node, &folder.path().join("script.log"))?;
    let served = async {
        let (stream, _) = listener.accept().await?;
        let (read, mut write) = stream.into_split();
        let mut lines = BufReader::new(read).lines();
        while let Some(line) = lines.next_line().await? {
            let answer = answer(&line).await;
            write.write_all(format!("{answer}\n").as_bytes()).await?;
        }
        Ok::<(), io::Error>(())
    };
    let status = tokio::select! {
        // It asks for nothing more.
        served = served => {
            served.map_err(Error::failed("answer the script"))?;
            process.wait(END).await?
        }
        status = process.wait(within) => status?,
    };
    if status.success() { Ok(()) } else { Err(process.watch().await) }
}

/// The folder of screenshots, for people to look at.
pub fn screenshots() -> Result<PathBuf, Error> {
    let folder = tools::target_dir()?.join("screenshots");
    fs::create_dir_all(&folder).map_err(Error::failed(format!("make {}", folder.display())))?;
    Ok(folder)
}

/// For the browser to close.
const END: Duration = Duration::from_secs(10);
