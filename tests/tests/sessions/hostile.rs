//! Whatever bytes a client sends, nothing breaks for anybody else.

use std::fs;

use futures_util::stream::{self, StreamExt};
use sluicegate_protocol::CmdKafkaFetch;
use sluicegate_protocol::pub_sub_req::Req;
use sluicegate_tests::envoy::Profile;
use sluicegate_tests::stack::Stack;

use crate::in_both_profiles;
use crate::peer::{Peer, ping, request};
use crate::raw::{BINARY, CLOSE, FIN, PING, PONG, Raw, TEXT, Upgrade, masked};
use crate::stacks::alone;

/// What an input is made from is its number: a failure names those that were under way.
async fn a_thousand_random_inputs_trap_nothing_and_harm_nobody(profile: Profile) {
    let stack = alone(profile).await;
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
    let mut random = Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
    let mut raw = Raw::connect(stack.envoy.gateway()).await;
    if random.below(5) == 0 {
        let upgrade = random.mutate(Upgrade::default().bytes());
        raw.try_write(&upgrade).await;
    } else {
        let response = raw.ask(&Upgrade::default().bytes()).await;
        assert_eq!(response.status, 101, "input {seed}: {response:?}");
    }
    for _ in 0..random.below(4) + 1 {
        let bytes = random.input();
        let cut = random.below(bytes.len() + 1);
        raw.try_write(&bytes[..cut]).await;
        raw.try_write(&bytes[cut..]).await;
    }
    raw.leave().await;
}

/// What would show that filter or bridge broke.
async fn broken(stack: &Stack) -> Vec<String> {
    let reloads = stack.envoy.stats("^wasm.sluicegate.vm_reload").await.unwrap();
    assert!(!reloads.is_empty(), "Envoy counts no reloads under this name");
    let reloads = reloads.into_iter().filter(|(_, count)| *count > 0).map(|reload| format!("{reload:?}"));
    let logs = [&stack.envoy.process, &stack.bridge.process].map(|p| fs::read_to_string(p.log()).unwrap());
    let signs = ["panicked", "[error]", "[critical]", " ERROR ", "unreachable"];
    let lines = logs.iter().flat_map(|log| log.lines()).filter(|line| signs.iter().any(|s| line.contains(s)));
    reloads.chain(lines.map(str::to_owned)).collect()
}

/// Vigna's xorshift64*.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() >> 32) as usize % end
    }

    fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| self.next() as u8).collect()
    }

    fn input(&mut self) -> Vec<u8> {
        match self.below(6) {
            0 => {
                let len = self.below(2000);
                self.bytes(len)
            }
            1 => {
                let frames = self.frames();
                self.mutate(frames)
            }
            2 => {
                let mut frames = self.frames();
                frames.truncate(self.below(frames.len() + 1));
                frames
            }
            3 => {
                let request = self.request();
                masked(BINARY, &self.mutate(request))
            }
            4 => {
                let len = self.below(300);
                masked(BINARY, &self.bytes(len))
            }
            _ => self.frames(),
        }
    }

    /// Frames that are well made, each by itself.
    fn frames(&mut self) -> Vec<u8> {
        let firsts = [BINARY, BINARY & !FIN, TEXT, TEXT & !FIN, FIN, 0, PING, PONG, CLOSE];
        let mut frames = Vec::new();
        for _ in 0..self.below(6) + 1 {
            let first = firsts[self.below(firsts.len())];
            let payload = match self.below(3) {
                0 => Vec::new(),
                1 => self.request(),
                _ => {
                    let len = self.below(130);
                    self.bytes(len)
                }
            };
            frames.extend(masked(first, &payload));
        }
        frames
    }

    fn request(&mut self) -> Vec<u8> {
        let sequence = self.next() as i64;
        if self.below(2) == 0 {
            let len = self.below(200);
            return ping(sequence, &self.bytes(len));
        }
        let topic: String = (0..self.below(20)).map(|_| char::from(self.below(128) as u8)).collect();
        let (partition, offset) = (self.next() as i32, self.next() as i64);
        request(sequence, Req::CmdKafkaFetch(CmdKafkaFetch { topic, partition, offset }))
    }

    /// Changes, removes or doubles a few bytes.
    fn mutate(&mut self, mut bytes: Vec<u8>) -> Vec<u8> {
        for _ in 0..self.below(4) + 1 {
            if bytes.is_empty() {
                return bytes;
            }
            let at = self.below(bytes.len());
            match self.below(4) {
                0 => bytes[at] ^= 1 << self.below(8),
                1 => bytes[at] = self.next() as u8,
                2 => drop(bytes.remove(at)),
                _ => bytes.insert(at, bytes[at]),
            }
        }
        bytes
    }
}

in_both_profiles! {
    a_thousand_random_inputs_trap_nothing_and_harm_nobody,
}
