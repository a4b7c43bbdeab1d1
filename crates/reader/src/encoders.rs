//! Encoders that are not in use, kept for their decompression buffers.

use sluicegate_records::Encoder;

use crate::lock::Lock;

#[derive(Debug, Default)]
pub(crate) struct Encoders {
    /// At most [`MAX_IDLE`], each with a buffer of a few MiB where batches are compressed.
    idle: Lock<Vec<Encoder>>,
}

impl Encoders {
    pub(crate) fn with<T>(&self, encode: impl FnOnce(&mut Encoder) -> T) -> T {
        let idle = self.idle.lock().pop();
        let mut encoder = idle.unwrap_or_default();
        let encoded = encode(&mut encoder);
        let mut idle = self.idle.lock();
        if idle.len() < MAX_IDLE {
            idle.push(encoder);
        }
        encoded
    }
}

/// No more are in use at a time than there are threads that run the calls.
const MAX_IDLE: usize = 16;
