//! A broker whose answer makes librdkafka abort the process: an ApiVersions 3 response without an error, whose versions are
//! null.

use bytes::BufMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Listens until it is dropped.
pub(crate) struct BrokenBroker {
    pub(crate) address: String,
    answered: watch::Receiver<bool>,
    _accepting: JoinSet<()>,
}

impl BrokenBroker {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (tell, answered) = watch::channel(false);
        let mut accepting = JoinSet::new();
        accepting.spawn(async move {
            let mut clients = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                clients.spawn(serve(stream, tell.clone()));
            }
        });
        Self { address, answered, _accepting: accepting }
    }

    /// Waits until someone was given that answer.
    pub(crate) async fn has_answered(&mut self) {
        self.answered.wait_for(|answered| *answered).await.unwrap();
    }
}

/// Answers ApiVersions until something else is asked.
async fn serve(mut stream: TcpStream, tell: watch::Sender<bool>) {
    while let Ok(len) = stream.read_i32().await {
        let mut request = vec![0; usize::try_from(len).unwrap()];
        if stream.read_exact(&mut request).await.is_err() || request[..2] != API_VERSIONS {
            return;
        }
        let (version, id) = (&request[2..4], &request[4..8]);
        let body: &[u8] = if version == [0, 0] { &SOUND } else { &NULL };
        let mut answer = Vec::new();
        answer.put_u32(u32::try_from(id.len() + body.len()).unwrap());
        answer.put(id);
        answer.put(body);
        if stream.write_all(&answer).await.is_err() {
            return;
        }
        if body == NULL {
            tell.send_replace(true);
        }
    }
}

const API_VERSIONS: [u8; 2] = [0, 18];
/// In version 0: no error, and ApiVersions in versions 0 to 3.
const SOUND: [u8; 12] = [0, 0, 0, 0, 0, 1, 0, 18, 0, 0, 0, 3];
/// From version 3 on: no error, null, no throttle time, no tagged fields.
const NULL: [u8; 8] = [0; 8];
