//! The same client by the library for Rust, which keeps its place and connects again by itself.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use sluicegate_client::{Delivery, Error, Filter, Isolation, Source, Subscribe, Update};
use sluicegate_protocol::kafka_subscription_event::{CaughtUp, Event, OpenTransaction, Retrying, Skipped};
use sluicegate_protocol::pub_sub_resp::Resp;
use sluicegate_protocol::{
    ErrorResp, KafkaDeliveryResp, KafkaSubscribedResp, PartitionNext, SubscribedTopic,
};
use tokio::io::{DuplexStream, copy_bidirectional, duplex};

use super::{AGAIN, Subscriber};
use crate::client::happened;
use crate::world::World;

impl Subscriber {
    /// Reads until the subscription fails for good. Gives the time to wait before the next one.
    pub(super) async fn visit_by_library(self: &Arc<Self>, world: &Arc<World>) -> Duration {
        let dial = {
            let (subscriber, world) = (Arc::clone(self), Arc::clone(world));
            move || subscriber.dial(&world)
        };
        let client = sluicegate_client::Client::builder("ws://localhost/pubsub").over(dial).connect().await;
        let Ok(client) = client else { return AGAIN };
        let mut updates = client.subscribe(self.subscribe());
        self.state.lock().left = i64::MAX;
        while let Some(update) = updates.next().await {
            let resp = match update {
                Ok(Update::Reconnecting { .. }) => {
                    self.caller.event(world, || "connects again".to_owned());
                    self.state.lock().ends.clear();
                    continue;
                }
                Ok(update) => answer(update),
                Err(Error::Command { code, retriable, retry_after, reason, .. }) => {
                    let retry_after = retry_after.unwrap_or_default().as_millis();
                    let (reason, retry_after_ms) =
                        (reason.into(), u32::try_from(retry_after).unwrap_or(u32::MAX));
                    let error = ErrorResp { code, retriable, retry_after_ms, reason, ..ErrorResp::default() };
                    Some(Resp::ErrorResp(error))
                }
                Err(other) => {
                    self.caller.broken(world, &format!("{other:?}"));
                    return AGAIN;
                }
            };
            let Some(resp) = resp else {
                self.caller.broken(world, "an update of a table");
                return AGAIN;
            };
            if matches!(resp, Resp::KafkaSubscribedResp(_)) && world.profile.is_unclean {
                self.come_back(&world.kafka.state());
            }
            if let Some(pause) = self.get(world, &resp).await {
                return pause;
            }
        }
        AGAIN
    }

    /// A connection to a bridge that can be cut.
    fn dial(self: &Arc<Self>, world: &World) -> io::Result<DuplexStream> {
        let mut far = self.caller.dial(world).ok_or(io::ErrorKind::ConnectionRefused)?;
        let (near, mut between) = duplex(BETWEEN);
        let subscriber = Arc::clone(self);
        tokio::spawn(async move {
            let _ = subscriber.caller.cut.unless_cut(copy_bidirectional(&mut between, &mut far)).await;
        });
        Ok(near)
    }

    fn subscribe(&self) -> Subscribe {
        let mut position = self.state.lock();
        position.ends.clear();
        let source = Source::new(&self.caller.topic).offset(0).topic_id(position.topic_id.clone());
        let known = position.histories.iter();
        let source = known.fold(source, |source, (partition, history)| source.next(*partition, history.next));
        let isolation = match self.view.committed {
            true => Isolation::ReadCommitted,
            false => Isolation::ReadUncommitted,
        };
        let subscribe = Subscribe::new([source])
            .isolation(isolation)
            .max_batch_bytes(self.limits.max_batch_bytes)
            .max_batch_records(self.max_batch_records)
            .linger(Duration::from_millis(self.linger.into()))
            .window(u32::try_from(self.credit.unwrap_or(1 << 20)).unwrap_or(u32::MAX));
        let subscribe = if self.caller.decodes { subscribe.decode() } else { subscribe };
        let subscribe = if self.limits.skips { subscribe.skip_on_lag() } else { subscribe };
        let Some(keys) = self.filtered_keys() else { return subscribe };
        subscribe.filter(keys.iter().cloned().fold(Filter::key(), Filter::equals))
    }
}

/// An update as the bridge has sent it; `None` for one of a table.
fn answer(update: Update) -> Option<Resp> {
    let event = match update {
        Update::Subscribed(topics) => {
            let next = |(partition, offset)| PartitionNext { partition, offset };
            let topic = |topic: sluicegate_client::SubscribedTopic| SubscribedTopic {
                topic: topic.topic,
                topic_id: topic.topic_id,
                partitions: topic.partitions.into_iter().map(next).collect(),
            };
            let topics = topics.into_iter().map(topic).collect();
            return Some(Resp::KafkaSubscribedResp(KafkaSubscribedResp { topics, snapshot: false }));
        }
        Update::Delivery(Delivery { topic, partition, messages, next_offset, high_watermark, .. }) => {
            let high_watermark = high_watermark.unwrap_or(-1);
            let delivery = KafkaDeliveryResp { messages, topic, partition, next_offset, high_watermark };
            return Some(Resp::KafkaDeliveryResp(delivery));
        }
        Update::CaughtUp { topic, partition, next_offset, blocked_until } => {
            let open_transaction = blocked_until.map(|end| OpenTransaction { end });
            Event::CaughtUp(CaughtUp { topic, partition, next_offset, open_transaction })
        }
        Update::Skipped { topic, partition, from, to, cause } => {
            Event::Skipped(Skipped { topic, partition, from, to, cause: cause.into() })
        }
        Update::Retrying { topic, partition, since, .. } => {
            Event::Retrying(Retrying { topic, partition, since, error: None })
        }
        _ => return None,
    };
    Some(happened(event))
}

/// The bytes that are under way between the library and the cut.
const BETWEEN: usize = 1024;
