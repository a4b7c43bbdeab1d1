//! Encoded answers that wait for the transport.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use sluicegate_dialect::session::Answer;
use sluicegate_protocol::codec::Codec;
use tokio::sync::OwnedSemaphorePermit;

/// Answers in the order in which they became ready, as writes. Small answers that are ready together share one write.
///
/// Memory is bounded by the session's answer bytes: each answer comes with its reservation, which is released when the
/// transport has taken the bytes.
#[derive(Debug)]
pub(super) struct Outbox {
    codec: Codec,
    writes: VecDeque<Write>,
    /// Small answers after the last of `writes`.
    small: BytesMut,
    /// The reservations of the answers in `small`.
    reserved: Reserved,
}

/// Bytes for a single write, and their share of the session's answer bytes.
#[derive(Debug)]
pub(super) struct Write {
    pub(super) bytes: Bytes,
    /// Released on drop.
    _reserved: Reserved,
}

/// At most one permit per queue.
type Reserved = Vec<OwnedSemaphorePermit>;

impl Write {
    pub(super) fn new(bytes: Bytes, reserved: Option<OwnedSemaphorePermit>) -> Self {
        Self { bytes, _reserved: reserved.into_iter().collect() }
    }
}

impl Outbox {
    pub(super) fn new(codec: Codec) -> Self {
        Self { codec, writes: VecDeque::new(), small: BytesMut::new(), reserved: Reserved::new() }
    }

    /// Appends an answer and returns its length. Releases the part of the reservation beyond it.
    pub(super) fn push(&mut self, answer: Answer, mut reserved: Option<OwnedSemaphorePermit>) -> usize {
        let before = self.small.len();
        let large = answer.encode(self.codec, &mut self.small);
        let len =
            self.small.len().saturating_sub(before).saturating_add(large.as_ref().map_or(0, Bytes::len));
        if let Some(reserved) = &mut reserved {
            shrink(reserved, len);
        }
        if let Some(bytes) = large {
            self.end_small();
            self.writes.push_back(Write::new(bytes, reserved));
            return len;
        }
        if let Some(reserved) = reserved {
            let same = |held: &&mut OwnedSemaphorePermit| Arc::ptr_eq(held.semaphore(), reserved.semaphore());
            match self.reserved.iter_mut().find(same) {
                Some(held) => held.merge(reserved),
                None => self.reserved.push(reserved),
            }
        }
        len
    }

    /// The next write, if anything is ready.
    pub(super) fn pop(&mut self) -> Option<Write> {
        if self.writes.is_empty() {
            self.end_small();
        }
        self.writes.pop_front()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.writes.is_empty() && self.small.is_empty()
    }

    /// Whether so much is ready that waiting for more answers would not improve the write.
    pub(super) fn is_worth_a_write(&self) -> bool {
        !self.writes.is_empty() || self.small.len() >= FULL_WRITE
    }

    fn end_small(&mut self) {
        if !self.small.is_empty() {
            // Not `split`, which would keep their memory for later answers.
            let bytes = std::mem::take(&mut self.small).freeze();
            self.writes.push_back(Write { bytes, _reserved: std::mem::take(&mut self.reserved) });
        }
    }
}

/// Releases what `reserved` holds beyond `bytes`.
pub(super) fn shrink(reserved: &mut OwnedSemaphorePermit, bytes: usize) {
    if let Some(excess) = reserved.num_permits().checked_sub(bytes) {
        drop(reserved.split(excess));
    }
}

/// One HTTP/2 DATA frame of the default size.
const FULL_WRITE: usize = 16 * 1024;

#[cfg(test)]
mod tests {
    use tokio::sync::Semaphore;

    use super::*;

    fn reserve(budget: &Arc<Semaphore>, bytes: u32) -> Option<OwnedSemaphorePermit> {
        Some(Arc::clone(budget).try_acquire_many_owned(bytes).unwrap())
    }

    #[test]
    fn small_answers_share_one_write() {
        let budget = Arc::new(Semaphore::new(1000));
        let mut outbox = Outbox::new(Codec::Protobuf);
        for sequence in 1..=3 {
            outbox.push(Answer::pong(sequence, "state".into()), reserve(&budget, 100));
        }
        let write = outbox.pop().unwrap();
        assert!(outbox.is_empty());
        assert_eq!(budget.available_permits(), 1000 - write.bytes.len());
        drop(write);
        assert_eq!(budget.available_permits(), 1000);
    }

    #[test]
    fn large_answer_keeps_its_place_between_small_ones() {
        let mut outbox = Outbox::new(Codec::Protobuf);
        let encoded = Bytes::from(vec![b'm'; 100_000]);
        outbox.push(Answer::pong(1, "a".into()), None);
        let shared = Answer::Shared { sequence: 2, number: 9, encoded: encoded.clone(), rest: Vec::new() };
        outbox.push(shared, None);
        outbox.push(Answer::pong(3, "b".into()), None);
        let writes: Vec<Bytes> = std::iter::from_fn(|| outbox.pop()).map(|w| w.bytes).collect();
        assert_eq!(writes.len(), 3);
        assert_eq!(writes[1], encoded);
    }
}
