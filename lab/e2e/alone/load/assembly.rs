//! 2,000 clients at 20 addresses each begin a message of nearly 1 MiB and do not finish it.

use std::net::Ipv4Addr;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::join_all;
use futures_util::stream;
use prost::Message as _;
use sluicegate_protocol::pub_sub_req::Req;
use sluicegate_protocol::pub_sub_resp::Resp;
use sluicegate_protocol::{CmdPing, PubSubResp};
use sluicegate_stack::raw::{BINARY, CLOSE, Frame, Raw, request};
use sluicegate_stack::waiting::settles;
use sluicegate_stack::way::Way;
use sluicegate_tests::directly;
use sluicegate_tests::in_a_tunnel;
use tokio::io::AsyncWriteExt;
use tokio::time::timeout;

use crate::load::bench::{self, Bench};
use crate::load::memory::{IDLE_SESSION, MAX_ASSEMBLY_BYTES, MAX_MESSAGE_BYTES, MIB, Memory, idle_socket};
use crate::load::witness::Witness;

in_a_tunnel! {
    unfinished_messages_are_bounded_together
}

directly! {
    unfinished_messages_are_bounded_together
}

const CLIENTS: usize = 2000;
const ADDRESSES: usize = 20;
/// Bytes of each unfinished message: 0.9 MiB.
const HELD: usize = (9 << 20) / 10;
/// A state that makes a message of some more.
const STATE: usize = 960 * 1024;
const AGAIN_LATER: u16 = 1013;

async fn unfinished_messages_are_bounded_together(way: Way) {
    let bench = Bench::new(way).await;
    let mut witness = Witness::new(&bench).await;
    let before = Memory::now(&bench);
    let gateway = bench.stack.gateway();
    let open = async |at: usize| {
        let address = Ipv4Addr::new(127, 0, 0, u8::try_from(at % ADDRESSES).unwrap() + 1);
        Client { raw: bench::open(gateway, address).await, refused: false }
    };
    let mut clients: Vec<Client> = stream::iter(0..CLIENTS).map(open).buffer_unordered(100).collect().await;
    let message = request(1, Req::CmdPing(CmdPing { state: vec![b's'; STATE].into() }));
    let (begin, rest) = message.split_at(HELD);

    // So many at the same time that they compete for the last room.
    stream::iter(&mut clients).for_each_concurrent(200, |client| client.send(begin)).await;
    // Sent bytes may still lie in a kernel's buffer.
    settles("what was taken", Duration::from_secs(60), async || {
        let bytes =
            if way.filter_runs_sessions() { bench.stat("sluicegate.bytes_from_client").await } else { 0 };
        (bytes + bench.evicted().await) as f64
    })
    .await;
    witness.check("2,000 messages are not finished").await;
    // Buffers for them, in filter or bridge, grow by doubling.
    let count = u64::try_from(CLIENTS).unwrap();
    let [gateway, bridge] =
        if way.filter_runs_sessions() { [2, 0] } else { [0, 2] }.map(|times| times * MAX_ASSEMBLY_BYTES);
    let allowed = Memory {
        gateway: gateway + count * idle_socket(way),
        bridge: bridge + count * IDLE_SESSION + 8 * MIB,
    };
    before.check(&bench, "2,000 messages are not finished", allowed);

    let results = join_all(clients.iter_mut().map(|client| client.finish(rest))).await;
    let served = u64::try_from(results.iter().filter(|served| **served).count()).unwrap();
    // Messages that grow beyond half the limit reserve the whole.
    let fit = MAX_ASSEMBLY_BYTES / MAX_MESSAGE_BYTES;
    // The last to lose may have held as much as one message more than was needed.
    assert!((fit - 2..=fit).contains(&served), "{served} are finished, {fit} fit");
    drop(clients);
    bench.is_left_with(1).await;
    witness.check("2,000 clients have left").await;
    bench.assert_filter_survived().await;
}

struct Client {
    raw: Raw,
    refused: bool,
}

impl Client {
    /// Sends `bytes` unless the session ends before.
    async fn send(&mut self, bytes: &[u8]) {
        let (mut input, mut output) = self.raw.io.split();
        let mut first = [0];
        let sent = async {
            tokio::select! {
                biased;
                // Takes nothing that would be lost if the other branch were ready first.
                _ = input.peek(&mut first) => false,
                // Where it fails, the reason may be there to be read.
                written = output.write_all(bytes) => written.is_ok(),
            }
        };
        if !timeout(WITHIN, sent).await.expect("room for a message, or a close frame") {
            assert_refusal(&self.raw.frame().await);
            self.refused = true;
        }
    }

    /// Sends the rest of its message, and says whether the whole was answered; otherwise it was refused.
    async fn finish(&mut self, rest: &[u8]) -> bool {
        if !self.refused {
            self.send(rest).await;
        }
        if self.refused {
            return false;
        }
        let frame = self.raw.frame().await;
        if frame.first != BINARY {
            assert_refusal(&frame);
            return false;
        }
        let answer = PubSubResp::decode(&frame.payload[..]).unwrap();
        let Some(Resp::PongResp(pong)) = answer.resp else { panic!("{answer:?}") };
        assert_eq!(pong.state.len(), STATE);
        true
    }
}

fn assert_refusal(Frame { first, payload }: &Frame) {
    assert_eq!(*first, CLOSE);
    assert_eq!(payload[..2], AGAIN_LATER.to_be_bytes(), "{}", String::from_utf8_lossy(payload));
}

const WITHIN: Duration = Duration::from_secs(60);
