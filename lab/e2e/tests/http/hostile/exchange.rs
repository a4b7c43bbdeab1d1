//! A client that writes raw bytes and returns the answer.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

/// Answers on a connection, and its end.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// Of whole answers, in order.
    pub(super) statuses: Vec<u16>,
    /// Whether the server closed the connection.
    pub(super) ended: bool,
    pub(super) bytes: Vec<u8>,
}

/// Writes `bytes` to a new connection, those after `cut` a little later. Reads until the end, or until the server is
/// quiet after `answers`. With none expected, the timeout is short.
pub(super) async fn exchange(gateway: SocketAddr, bytes: &[u8], cut: usize, answers: usize) -> Seen {
    let mut stream = TcpStream::connect(gateway).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let (mut reader, mut writer) = stream.split();
    let mut seen = Seen::default();
    let (first, rest) = bytes.split_at(cut);
    let writing = async {
        // A server that has had enough closes.
        let _ = writer.write_all(first).await;
        sleep(PAUSE).await;
        let _ = writer.write_all(rest).await;
    };
    let reading = async {
        loop {
            let patience = match () {
                () if answers == 0 => SILENCE,
                () if whole(&seen.bytes).is_some_and(|statuses| statuses.len() >= answers) => AFTER,
                () => PATIENCE,
            };
            match timeout(patience, reader.read_buf(&mut seen.bytes)).await {
                Ok(Ok(1..)) => {}
                Ok(Ok(0) | Err(_)) => break seen.ended = true,
                Err(_) => break,
            }
        }
    };
    tokio::join!(writing, reading);
    seen.statuses = whole(&seen.bytes).unwrap_or_default();
    seen
}

/// The statuses of answers that end where the bytes end; `None` where they do not, or there are none.
fn whole(mut bytes: &[u8]) -> Option<Vec<u16>> {
    let mut statuses = Vec::new();
    while !bytes.is_empty() {
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
        let head = std::str::from_utf8(&bytes[..end]).unwrap().to_lowercase();
        let status: u16 = head.strip_prefix("http/1.1 ")?.get(..3)?.parse().unwrap();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let length: usize = length.map_or(0, |length| length.parse().unwrap());
        bytes = bytes.get(end + length..)?;
        statuses.push(status);
    }
    (!statuses.is_empty()).then_some(statuses)
}

/// Longer than the gateway takes to read what is there.
const PAUSE: Duration = Duration::from_millis(2);
/// Longer than the gateway takes to refuse what it has read.
const SILENCE: Duration = Duration::from_millis(60);
/// Longer than the next answer takes, where there is one.
const AFTER: Duration = Duration::from_millis(25);
const PATIENCE: Duration = Duration::from_secs(10);
