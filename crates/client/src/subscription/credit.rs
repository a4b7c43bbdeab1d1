//! Credit: a limit for the bytes that a server can send ahead.

use prost::Message;
use prost::encoding::message;

/// The credit of a subscription: what was granted and not taken is never more than the window.
#[derive(Debug)]
pub(super) struct Credit {
    window: u64,
    /// Bytes taken and not granted again; below half the window, rounded up.
    taken: u64,
}

impl Credit {
    /// The server has the whole window.
    pub(super) fn new(window: u64) -> Self {
        Self { window, taken: 0 }
    }

    /// Counts `bytes` that were taken, and returns what to grant: half a window or more at once, so that grants are
    /// few.
    pub(super) fn take(&mut self, bytes: u64) -> Option<u64> {
        self.taken = self.taken.saturating_add(bytes);
        let is_due = self.taken >= self.window.div_ceil(2);
        is_due.then(|| std::mem::take(&mut self.taken))
    }
}

/// The bytes of `messages` as they are in a delivery, each with its tag and length.
pub(crate) fn cost(messages: &[impl Message]) -> u64 {
    let len = |message| u64::try_from(message::encoded_len(MESSAGES, message)).unwrap_or(u64::MAX);
    messages.iter().map(len).fold(0, u64::saturating_add)
}

/// The field of `KafkaDeliveryResp` and of `NatsDeliveryResp`.
const MESSAGES: u32 = 1;

#[cfg(test)]
mod tests {
    use sluicegate_protocol::{KafkaDeliveryResp, KafkaMessage};

    use super::*;

    #[test]
    fn all_that_was_taken_is_granted_in_large_parts() {
        let mut credit = Credit::new(1000);
        let granted = [1, 498, 1, 499, 3000].map(|bytes| credit.take(bytes));
        assert_eq!(granted, [None, None, Some(500), None, Some(3499)]);
        assert_eq!(Credit::new(1).take(1), Some(1));
    }

    #[test]
    fn cost_is_that_on_the_wire() {
        let message =
            |len| KafkaMessage { offset: 7, value: Some(vec![1; len].into()), ..Default::default() };
        let messages = vec![message(0), message(200), message(70_000), KafkaMessage::default()];
        let delivery = KafkaDeliveryResp { messages: messages.clone(), ..Default::default() };
        assert_eq!(cost(&messages), u64::try_from(delivery.encoded_len()).unwrap());
    }
}
