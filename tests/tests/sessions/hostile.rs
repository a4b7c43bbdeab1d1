//! Random and malformed bytes of one client do not affect others.

use std::fs;

use futures_util::stream::{self, StreamExt};
use sluicegate_protocol::CmdKafkaFetch;
use sluicegate_protocol::pub_sub_req::Req;
use sluicegate_tests::directly;
use sluicegate_tests::in_both_profiles;
use sluicegate_tests::process::Process;
use sluicegate_tests::random::Random;
use sluicegate_tests::raw::{BINARY, CLOSE, FIN, PING, PONG, Raw, TEXT, Upgrade, masked};
use sluicegate_tests::stack::Stack;
use sluicegate_tests::way::Way;

use crate::peer::{Peer, ping, request};
use crate::stacks::alone;

/// What an input is made from is its number: a failure names those that were under way.
async fn random_input_traps_nothing_and_harms_nobody(way: Way) {
    let stack = alone(way).await;
    let mut bystanders = Vec::new();
    for _ in 0..4 {
        bystanders.push(Peer::open(&stack).await);
    }
    for first in (0..1000).step_by(50) {
        stream::iter(first..first + 50).for_each_concurrent(10, |seed| play(&stack, seed)).await;
        for bystander in &mut bystanders {
            bystander.is_idle().await;
        }
        let broken = broken(&stack).await;
        assert!(broken.is_empty(), "inputs {first} to {}: {broken:?}", first + 49);
    }
}

async fn play(stack: &Stack, seed: u64) {
    let mut inputs = Inputs(Random::new(seed));
    let mut raw = Raw::connect(stack.gateway()).await;
    if inputs.0.below(5) == 0 {
        let upgrade = inputs.mutate(Upgrade::default().bytes());
        raw.try_write(&upgrade).await;
    } else {
        raw = raw.upgraded(&Upgrade::default()).await;
    }
    for _ in 0..inputs.0.below(4) + 1 {
        let bytes = inputs.input();
        let cut = inputs.0.below(bytes.len() + 1);
        raw.try_write(&bytes[..cut]).await;
        raw.try_write(&bytes[cut..]).await;
    }
    raw.leave().await;
}

/// Signs that the filter or the bridge broke.
async fn broken(stack: &Stack) -> Vec<String> {
    let reloads = if stack.way().has_filter() { stack.envoy().filter_reloads().await.unwrap() } else { 0 };
    let read = |process: &Process| String::from_utf8_lossy(&fs::read(process.log()).unwrap()).into_owned();
    let logs: Vec<String> = stack.processes().map(read).collect();
    let signs = ["panicked", "[error]", "[critical]", " ERROR ", "unreachable"];
    let lines = logs.iter().flat_map(|log| log.lines()).filter(|line| signs.iter().any(|s| line.contains(s)));
    let replaced = (reloads > 0).then(|| format!("{reloads} reloads of the filter"));
    replaced.into_iter().chain(lines.map(str::to_owned)).collect()
}

/// What a client may send.
struct Inputs(Random);

impl Inputs {
    fn input(&mut self) -> Vec<u8> {
        match self.0.below(6) {
            0 => {
                let len = self.0.below(2000);
                self.0.bytes(len)
            }
            1 => {
                let frames = self.frames();
                self.mutate(frames)
            }
            2 => {
                let mut frames = self.frames();
                frames.truncate(self.0.below(frames.len() + 1));
                frames
            }
            3 => {
                let request = self.request();
                masked(BINARY, &self.mutate(request))
            }
            4 => {
                let len = self.0.below(300);
                masked(BINARY, &self.0.bytes(len))
            }
            _ => self.frames(),
        }
    }

    /// Frames that are well made, each by itself.
    fn frames(&mut self) -> Vec<u8> {
        let firsts = [BINARY, BINARY & !FIN, TEXT, TEXT & !FIN, FIN, 0, PING, PONG, CLOSE];
        let mut frames = Vec::new();
        for _ in 0..self.0.below(6) + 1 {
            let first = firsts[self.0.below(firsts.len())];
            let payload = match self.0.below(3) {
                0 => Vec::new(),
                1 => self.request(),
                _ => {
                    let len = self.0.below(130);
                    self.0.bytes(len)
                }
            };
            frames.extend(masked(first, &payload));
        }
        frames
    }

    fn request(&mut self) -> Vec<u8> {
        let sequence = self.0.next() as i64;
        if self.0.below(2) == 0 {
            let len = self.0.below(200);
            return ping(sequence, &self.0.bytes(len));
        }
        let topic: String = (0..self.0.below(20)).map(|_| char::from(self.0.below(128) as u8)).collect();
        let (partition, offset) = (self.0.next() as i32, self.0.next() as i64);
        request(sequence, Req::CmdKafkaFetch(CmdKafkaFetch { topic, partition, offset }))
    }

    /// Changes, removes or doubles a few bytes.
    fn mutate(&mut self, mut bytes: Vec<u8>) -> Vec<u8> {
        for _ in 0..self.0.below(4) + 1 {
            if bytes.is_empty() {
                return bytes;
            }
            let at = self.0.below(bytes.len());
            match self.0.below(4) {
                0 => bytes[at] ^= 1 << self.0.below(8),
                1 => bytes[at] = self.0.next() as u8,
                2 => drop(bytes.remove(at)),
                _ => bytes.insert(at, bytes[at]),
            }
        }
        bytes
    }
}

in_both_profiles! {
    random_input_traps_nothing_and_harms_nobody
}

directly! {
    random_input_traps_nothing_and_harms_nobody
}
