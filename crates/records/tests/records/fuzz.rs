//! Ten seconds of random and mutated inputs on stable Rust, for the invariants of the libFuzzer target.
//!
//! `FUZZ_SECONDS` sets the time. A failure prints its seed; `FUZZ_SEED` runs that input alone.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::{Duration, Instant};

use crate::invariants;

#[test]
fn random_and_mutated_logs_keep_the_invariants() {
    let corpus = corpus();
    if let Some(seed) = variable("FUZZ_SEED") {
        return run(seed, &corpus);
    }
    let seconds = variable("FUZZ_SECONDS").unwrap_or(10);
    let first = RandomState::new().build_hasher().finish();
    let end = Instant::now() + Duration::from_secs(seconds);
    for seed in (0..).map(|run| first.wrapping_add(run)).take_while(|_| Instant::now() < end) {
        run(seed, &corpus);
    }
}

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|value| value.parse().expect("a number"))
}

fn run(seed: u64, corpus: &[Vec<u8>]) {
    let input = input(&mut Random(seed), corpus);
    let judged = std::panic::catch_unwind(|| invariants::check_input(&input));
    assert!(judged.is_ok(), "run this input again with FUZZ_SEED={seed}");
}

/// The batches of all fixtures.
fn corpus() -> Vec<Vec<u8>> {
    let fixtures = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures");
    let mut batches = Vec::new();
    for file in std::fs::read_dir(fixtures).expect("the fixtures") {
        let path = file.expect("a file").path();
        if path.extension().is_none_or(|extension| extension != "log") {
            continue;
        }
        let log = std::fs::read(path).expect("a log");
        let mut rest = &log[..];
        while let Some(len) = rest.get(8..12) {
            let (batch, after) = rest.split_at(12 + u32::from_be_bytes(len.try_into().unwrap()) as usize);
            rest = after;
            batches.push(batch.to_vec());
        }
    }
    assert!(!batches.is_empty(), "no batches in {fixtures}");
    batches
}

/// A few batches with a few changes, or random bytes; then the arguments.
fn input(random: &mut Random, corpus: &[Vec<u8>]) -> Vec<u8> {
    let mut input = Vec::new();
    if random.below(8) == 0 {
        input.extend((0..random.below(300)).map(|_| random.byte()));
    } else {
        (0..=random.below(3)).for_each(|_| input.extend(&corpus[random.below(corpus.len())]));
    }
    for _ in 0..random.below(6) {
        mutate(random, &mut input);
    }
    input.extend((0..8).map(|_| random.byte()));
    input
}

fn mutate(random: &mut Random, input: &mut Vec<u8>) {
    let at = random.below(input.len() + 1);
    match random.below(6) {
        0 => input.insert(at, random.byte()),
        1 => input.truncate(at),
        2 => {
            let part = input[at..].iter().copied().take(random.below(64)).collect::<Vec<u8>>();
            let to = random.below(input.len() + 1);
            input.splice(to..to, part);
        }
        kind => {
            let Some(byte) = input.get_mut(at) else { return };
            // Lengths, counts and varints fail at their limits most.
            let edge = [0x00, 0x01, 0x7F, 0x80, 0xFF][random.below(5)];
            *byte = if kind == 3 { edge } else { random.byte() };
        }
    }
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    fn byte(&mut self) -> u8 {
        self.next() as u8
    }
}
