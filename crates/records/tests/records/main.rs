//! The crate through its public door: written batches, recorded ones, broken ones.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "tests fail loudly")]

mod batch;
mod invariants;

use sluicegate_records::Limits;

const LIMITS: Limits = Limits { max_bytes: 1 << 20, max_record_bytes: 1 << 20, max_batch_bytes: 1 << 20 };

#[test]
fn every_compression_is_read_from_the_middle_of_a_batch() {
    for compression in batch::COMPRESSIONS {
        let written =
            batch::Batch::of_values(5, &["a", "b", "c"]).with(|batch| batch.compression = compression);
        let walk = invariants::check(&written.bytes(), 6, &LIMITS);
        assert_eq!(walk.messages.len(), 2, "{walk:?}");
        assert_eq!(walk.next_offset, 8);
    }
}
