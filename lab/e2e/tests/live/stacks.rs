//! The stacks that the tests subscribe through.

use std::time::Duration;

use sluicegate_stack::kafka::Kafka;
use sluicegate_stack::stack::{Setup, Stack};
use sluicegate_stack::way::Way;
use tokio::sync::OnceCell;

/// The Kafka of all tests, and the gateway of all tests of a way in, every setting at its default.
pub(crate) async fn shared(way: impl Into<Way>) -> (&'static Kafka, &'static Stack) {
    static SHARED: [OnceCell<Stack>; Way::COUNT] = [const { OnceCell::const_new() }; Way::COUNT];
    let kafka = Kafka::shared().await.unwrap();
    let way = way.into();
    let start = async || {
        let mut stack = Stack::start(Setup::new(way, kafka.bootstrap())).await.unwrap();
        stack.ready_within(Duration::from_secs(30)).await.unwrap();
        stack
    };
    (kafka, SHARED[way as usize].get_or_init(start).await)
}
