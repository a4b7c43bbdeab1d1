//! A pseudo-terminal: the progress line of a long read or write, and typed records.

use std::ffi::OsString;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::unix::ffi::OsStringExt as _;

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use tokio::io::{copy, sink};
use tokio::time::timeout;

use super::*;

#[tokio::test]
async fn long_read_into_a_file_shows_progress() {
    let (terminal, side) = terminal();
    let url = kafka::serve().await;
    let mut command = command(&url, &["fetch", "endless", "-p", "0"]);
    let mut child = command.env("TERM", "xterm").stderr(side).spawn().unwrap();
    drop(command);
    let mut stdout = child.stdout.take().unwrap();
    let pouring = tokio::spawn(async move { copy(&mut stdout, &mut sink()).await });
    draws_progress(terminal).await;
    child.kill().await.unwrap();
    pouring.await.unwrap().unwrap();
}

#[tokio::test]
async fn long_write_of_a_file_shows_progress() {
    let (terminal, side) = terminal();
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(&b"0123456789 0123456789 0123456789\n".repeat(1 << 18)).unwrap();
    let url = server::serve(produce::slowly).await;
    let mut command = command(&url, &["produce", "orders", "-l", file.path().to_str().unwrap()]);
    let mut child =
        command.env("TERM", "xterm").stdout(side.try_clone().unwrap()).stderr(side).spawn().unwrap();
    drop(command);
    draws_progress(terminal).await;
    child.kill().await.unwrap();
}

/// Waits until a progress line is drawn there.
async fn draws_progress(mut terminal: File) {
    let drawn = tokio::task::spawn_blocking(move || {
        let mut drawn = String::new();
        while !["eta", "iB", "/s"].iter().all(|part| drawn.contains(part)) {
            let mut part = [0; 1024];
            let len = terminal.read(&mut part).unwrap();
            drawn.push_str(&String::from_utf8_lossy(&part[..len]));
        }
    });
    timeout(Duration::from_secs(60), drawn)
        .await
        .expect("no progress with bytes, rate and eta is drawn")
        .unwrap();
}

#[tokio::test]
async fn messages_on_the_terminal_replace_progress() {
    let (mut terminal, side) = terminal();
    let url = kafka::serve_older().await;
    // Takes longer than a second: it pauses before the retry.
    let mut command = command(&url, &["fetch", "moving", "-p", "0", "--follow", "-c", "1"]);
    command.env("TERM", "xterm").stdout(side.try_clone().unwrap()).stderr(side);
    assert!(command.spawn().unwrap().wait().await.unwrap().success());
    drop(command);
    let mut shown = String::new();
    // Reading a terminal that is closed on the other side is an error.
    let _ = terminal.read_to_string(&mut shown);
    let (first, rest) = shown.split_once("; retrying\r\n").unwrap();
    assert!(first.starts_with("% failed to fetch message"), "{shown:?}");
    assert_eq!(rest, "v0\r\n");
}

#[tokio::test]
async fn typed_records_are_written_until_ctrl_d() {
    let (mut terminal, side) = terminal();
    let url = server::serve(produce::slowly).await;
    let child = command(&url, &["produce", "orders"]).stdin(side).spawn().unwrap();
    terminal.write_all(b"typed\n\x04").unwrap();
    let output = timeout(Duration::from_secs(60), child.wait_with_output()).await.unwrap().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    let start = "% reading records from the terminal, Ctrl-D ends them\n% 1 sent, 1 acknowledged, ";
    assert!(output.status.success() && stderr.starts_with(start), "{stderr}");
}

/// A terminal: the side that reads what is shown, and the side for the program.
fn terminal() -> (File, File) {
    let shown = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&shown).unwrap();
    unlockpt(&shown).unwrap();
    let name = OsString::from_vec(ptsname(&shown, Vec::new()).unwrap().into_bytes());
    (shown.into(), File::options().read(true).write(true).open(name).unwrap())
}
