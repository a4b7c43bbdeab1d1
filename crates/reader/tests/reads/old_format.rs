//! Logs that begin in Kafka's format of before 0.11.

use kafka_protocol::messages::RequestKind;

use crate::scripted::{self, Broker, Step, reader, usual};
use crate::support::{at, chain, messages};

/// A message of magic 1, its checksum does not cover the offset.
fn old(offset: i64) -> Vec<u8> {
    let covered = [&[1; 1], &[0; 9][..], &[0xFF; 4], &[0, 0, 0, 3], b"old"].concat();
    [&offset.to_be_bytes()[..], &25_i32.to_be_bytes(), &0x980F_AA1F_u32.to_be_bytes(), &covered].concat()
}

#[tokio::test]
async fn old_messages_are_an_error_that_names_the_first_readable_offset() {
    let broker = Broker::start(|asked, address| match &asked.kind {
        RequestKind::Fetch(request) => {
            let log = match request.topics[0].partitions[0].fetch_offset {
                0 => [old(0), old(1)].concat(),
                // The last message is cut off.
                2 => [old(2), old(3)[..30].to_vec()].concat(),
                3 => [old(3), scripted::one_record(4, b'x'), old(5)].concat(),
                4 => [scripted::one_record(4, b'x'), old(5)].concat(),
                5 => old(5),
                _ => Vec::new(),
            };
            Step::Answer(scripted::fetched(asked, 0, 6, &log))
        }
        _ => usual(asked, address),
    })
    .await;
    let reader = reader(&[broker.address]);
    for (from, next) in [(0, 4), (3, 4), (5, 6)] {
        let error = reader.fetch(at("t", 0, from)).await.expect_err("an old message");
        assert_eq!((error.code(), error.retriable()), (43, false), "{}", chain(&error));
        let want = format!(
            "UNSUPPORTED_FOR_MESSAGE_FORMAT: record at offset {from} has format version 1, only version 2 is \
             supported: read on at offset {next}"
        );
        assert_eq!(chain(&error), want);
    }
    let fetched = reader.fetch(at("t", 0, 4)).await.expect("a record");
    assert_eq!((messages(&fetched)[0].offset, fetched.next_offset), (4, 5));
    assert_eq!(reader.fetch(at("t", 0, 6)).await.expect("the log end").count, 0);
}
