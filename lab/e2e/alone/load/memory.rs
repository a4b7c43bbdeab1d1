//! Compares the memory of gateway and bridge with the documented limits.

use std::fs;

use sluicegate_stack::process::Process;

use crate::load::bench::Bench;

const KIB: u64 = 1024;
pub(crate) const MIB: u64 = 1024 * KIB;

/// The bridge's default of `limits.max_request_bytes`.
pub(crate) const MAX_REQUEST_BYTES: u64 = MIB;
/// Its default of `limits.stream_window_bytes`.
pub(crate) const STREAM_WINDOW_BYTES: u64 = 64 * KIB;
/// Bytes that a session at rest takes in the bridge.
pub(crate) const IDLE_SESSION: u64 = 8 * KIB;

/// Most bytes in the bridge of a session whose client takes no answers: `limits.session_answer_bytes` and, behind them,
/// four HTTP/2 frames; and a quarter more that the allocator keeps for them.
pub(crate) fn stuck_session() -> u64 {
    (SESSION_ANSWER_BYTES + 4 * HTTP2_FRAME + IDLE_SESSION) * 5 / 4
}

/// The same in the gateway, Envoy: the client's connection, and the hop behind it, a window or a buffer; and half as much
/// more, because a buffer is found to be full when it is over its limit, and for what the allocator keeps.
pub(crate) const STUCK_SOCKET: u64 = (CONNECTION_BUFFER + STREAM_WINDOW + IDLE_SOCKET) * 3 / 2;

/// Bytes that a session at rest takes in the gateway.
pub(crate) const IDLE_SOCKET: u64 = 64 * KIB;

/// Resident memory of two processes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Memory {
    /// Nothing where there is none.
    pub(crate) gateway: u64,
    pub(crate) bridge: u64,
}

impl Memory {
    /// Now.
    pub(crate) fn now(bench: &Bench) -> Self {
        Self::read(bench, "VmRSS:")
    }

    /// The most that it ever was.
    fn peak(bench: &Bench) -> Self {
        Self::read(bench, "VmHWM:")
    }

    fn read(bench: &Bench, line: &str) -> Self {
        let stack = &bench.stack;
        let all: u64 = stack.processes().map(|process| read(process, line)).sum();
        let bridge = read(&stack.bridge.process, line);
        Self { gateway: all.saturating_sub(bridge), bridge }
    }

    /// Since `self`, neither process has come to need more than `allowed` besides.
    #[expect(clippy::print_stdout, reason = "a measurement, for `--nocapture`")]
    pub(crate) fn check(self, bench: &Bench, what: &str, allowed: Self) {
        let peak = Self::peak(bench);
        let grown = Self {
            gateway: peak.gateway.saturating_sub(self.gateway),
            bridge: peak.bridge.saturating_sub(self.bridge),
        };
        println!(
            "{what}: the gateway grew by {}, the bridge by {}",
            share(grown.gateway, allowed.gateway),
            share(grown.bridge, allowed.bridge)
        );
        let gateway = share(grown.gateway, allowed.gateway);
        assert!(grown.gateway <= allowed.gateway, "the gateway grew by {gateway}");
        assert!(grown.bridge <= allowed.bridge, "the bridge grew by {}", share(grown.bridge, allowed.bridge));
    }
}

fn share(grown: u64, allowed: u64) -> String {
    format!("{} of {} MiB that it may", grown / MIB, allowed / MIB)
}

/// A line of proc_pid_status(5), which is in kibibytes.
fn read(process: &Process, line: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", process.id())).unwrap();
    let value = status.lines().find_map(|text| text.strip_prefix(line)).unwrap();
    value.trim().strip_suffix(" kB").unwrap().parse::<u64>().unwrap() * KIB
}

/// The bridge's default of `limits.session_answer_bytes`.
const SESSION_ANSWER_BYTES: u64 = MIB;
/// `SETTINGS_MAX_FRAME_SIZE` in `envoy/*.yaml`, and the bridge's own bound.
const HTTP2_FRAME: u64 = 64 * KIB;
/// `per_connection_buffer_limit_bytes` of the listener in `envoy/*.yaml`.
const CONNECTION_BUFFER: u64 = 256 * KIB;
/// `initial_stream_window_size` there.
const STREAM_WINDOW: u64 = 256 * KIB;
