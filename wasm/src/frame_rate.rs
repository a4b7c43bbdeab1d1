//! A limit on the frames that a worker's clients send between two ticks, shared fairly by their addresses.

use std::cell::RefCell;

use sluicegate_fair_share::{ClientKey, Ledger};

/// The frames since the last tick.
///
/// A gateway hands over all bytes that have arrived on a connection, up to the size of its buffer, and serves no other
/// connection until the filter returns. Frames can be as small as six bytes, so a few hundred connections could keep a
/// worker busy for seconds. When a client has sent its share, sessions of it that send few frames at a time go on, and
/// one that sends many is closed. Few frames count for nothing, and what a client sends beyond its share takes nothing
/// from others.
pub(crate) struct FrameRate(RefCell<Ledger>);

impl Default for FrameRate {
    fn default() -> Self {
        Self(RefCell::new(Ledger::of_one_cluster(MAX_FRAMES / FEW)))
    }
}

impl FrameRate {
    /// Number of frames that can begin in the next bytes of a client.
    pub(crate) fn room(&self, source: ClientKey) -> usize {
        if self.0.borrow().has_room(source.into(), 1) { usize::MAX } else { FEW }
    }

    /// Counts the frames of one callback.
    pub(crate) fn count(&self, source: ClientKey, frames: usize) {
        self.0.borrow_mut().take_up_to(source.into(), frames / FEW);
    }

    /// Begins a new period.
    pub(crate) fn tick(&self) {
        self.0.borrow_mut().clear();
    }
}

/// Frames in a tick of 100 ms. A client has three quarters, ten times what a worker can pass on to the bridge, each of
/// which costs the filter up to 0.3 µs.
const MAX_FRAMES: usize = 200_000;

/// Frames that can always come at once, and the unit in which they are counted.
const FEW: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn greedy_client_leaves_frames_to_others() {
        let [greedy, other] = [b"192.0.2.1", b"192.0.2.2"].map(|address| ClientKey::parse(address));
        let frames = FrameRate::default();
        let mut sent = 0;
        while frames.room(greedy) == usize::MAX {
            frames.count(greedy, 40_000);
            sent += 40_000;
        }
        assert!((MAX_FRAMES / 2..MAX_FRAMES).contains(&sent), "{sent}");
        for many in [FEW, 40_000] {
            (0..10_000).for_each(|_| frames.count(greedy, many));
            assert_eq!((frames.room(greedy), frames.room(other)), (FEW, usize::MAX), "after {many} at once");
        }
        frames.tick();
        assert_eq!(frames.room(greedy), usize::MAX);
    }

    #[test]
    fn few_frames_at_once_count_for_nothing() {
        let (frames, source) = (FrameRate::default(), ClientKey::parse(b"192.0.2.1"));
        (0..MAX_FRAMES).for_each(|_| frames.count(source, FEW - 1));
        assert_eq!(frames.room(source), usize::MAX);
    }
}
