//! A client that collects what its subscription delivers, and judges the order.

use std::collections::BTreeMap;

use sluicegate_protocol::kafka_subscription_event::Event;
use sluicegate_protocol::pub_sub_req::Req;
use sluicegate_protocol::pub_sub_resp::Resp;
use sluicegate_protocol::{
    CmdKafkaSubscribe, CmdUnsubscribe, KafkaDeliveryResp, KafkaMessage, KafkaSource, KafkaSubscribedResp,
    kafka_source,
};
use sluicegate_stack::kafka::{Kafka, Record, Write};
use sluicegate_stack::socket::Socket;
use sluicegate_stack::stack::Stack;

/// A session with one subscription.
#[derive(Debug)]
pub(crate) struct Subscriber {
    pub(crate) socket: Socket,
    /// The sequence of the subscription.
    pub(crate) sequence: i64,
    /// Messages of each partition, in the order of their delivery.
    pub(crate) messages: BTreeMap<Partition, Vec<KafkaMessage>>,
    /// Where each partition continues.
    pub(crate) next: BTreeMap<Partition, i64>,
}

pub(crate) type Partition = (String, i32);

/// One message of a subscription.
#[derive(Debug)]
pub(crate) enum Told {
    Subscribed(KafkaSubscribedResp),
    /// Messages, which the subscriber has.
    Delivery,
    Event(Event),
}

impl Subscriber {
    /// Subscribes over a session of its own, and waits for the first message.
    pub(crate) async fn open(stack: &Stack, command: CmdKafkaSubscribe) -> Self {
        let mut subscriber = Self::over(Socket::open(stack).await, command).await;
        match subscriber.told().await {
            Told::Subscribed(_) => subscriber,
            other => panic!("{other:?} instead of what was subscribed"),
        }
    }

    /// Subscribes over this session.
    pub(crate) async fn over(mut socket: Socket, command: CmdKafkaSubscribe) -> Self {
        let sequence = socket.send(Req::CmdKafkaSubscribe(command)).await;
        Self { socket, sequence, messages: BTreeMap::new(), next: BTreeMap::new() }
    }

    /// The next message, which must be the subscription's.
    pub(crate) async fn told(&mut self) -> Told {
        let (sequence, resp) = self.socket.receive().await;
        assert_eq!(sequence, self.sequence, "{resp:?}");
        self.take(resp)
    }

    /// Notes a message of the subscription.
    fn take(&mut self, resp: Resp) -> Told {
        match resp {
            Resp::KafkaSubscribedResp(subscribed) => {
                for topic in &subscribed.topics {
                    let begins = topic.partitions.iter();
                    self.next.extend(begins.map(|at| ((topic.topic.clone(), at.partition), at.offset)));
                }
                Told::Subscribed(subscribed)
            }
            Resp::KafkaDeliveryResp(delivery) => self.deliver(delivery),
            Resp::KafkaSubscriptionEvent(event) => {
                let event = event.event.expect("an event that is known");
                match &event {
                    Event::CaughtUp(at) => {
                        self.next.insert((at.topic.clone(), at.partition), at.next_offset);
                    }
                    Event::Skipped(skipped) => {
                        let next = self.next.insert((skipped.topic.clone(), skipped.partition), skipped.to);
                        assert_eq!(next, Some(skipped.from), "{skipped:?}");
                    }
                    Event::Retrying(_) => {}
                    other => panic!("{other:?} of no table"),
                }
                Told::Event(event)
            }
            other => panic!("{other:?} of a subscription"),
        }
    }

    fn deliver(&mut self, delivery: KafkaDeliveryResp) -> Told {
        let KafkaDeliveryResp { messages, topic, partition, next_offset, high_watermark } = delivery;
        let next =
            self.next.get_mut(&(topic.clone(), partition)).expect("a partition that was subscribed to");
        for message in &messages {
            assert!(message.offset >= *next, "offset {} of {topic}/{partition} after {next}", message.offset);
            *next = message.offset + 1;
        }
        assert!(
            next_offset >= *next && high_watermark >= next_offset,
            "{next} {next_offset} {high_watermark}"
        );
        *next = next_offset;
        self.messages.entry((topic, partition)).or_default().extend(messages);
        Told::Delivery
    }

    /// Takes deliveries until there are so many messages in all. Another message is a failure, except that a partition
    /// has caught up.
    pub(crate) async fn collect(&mut self, count: usize) {
        while self.count() < count {
            match self.told().await {
                Told::Delivery | Told::Event(Event::CaughtUp(_)) => {}
                other => panic!("{other:?} after {} of {count} messages", self.count()),
            }
        }
        assert_eq!(self.count(), count);
    }

    /// Takes messages until so many partitions have caught up since the call.
    pub(crate) async fn catch_up(&mut self, mut partitions: usize) {
        while partitions > 0 {
            match self.told().await {
                Told::Delivery => {}
                Told::Event(Event::CaughtUp(_)) => partitions -= 1,
                other => panic!("{other:?} where a partition should catch up"),
            }
        }
    }

    /// Messages of all partitions.
    pub(crate) fn count(&self) -> usize {
        self.messages.values().map(Vec::len).sum()
    }

    /// The values of a partition's messages, as text.
    pub(crate) fn values(&self, topic: &str, partition: i32) -> Vec<String> {
        let messages = self.messages.get(&(topic.to_owned(), partition)).into_iter().flatten();
        messages.map(|message| text(message.value.as_deref().unwrap_or_default())).collect()
    }

    /// Ends the subscription. What was on its way is taken.
    pub(crate) async fn unsubscribe(&mut self) {
        let asked =
            self.socket.send(Req::CmdUnsubscribe(CmdUnsubscribe { subscription: self.sequence })).await;
        loop {
            match self.socket.receive().await {
                (sequence, Resp::UnsubscribedResp(_)) if sequence == asked => return,
                (sequence, resp) if sequence == self.sequence => drop(self.take(resp)),
                other => panic!("{other:?} instead of the end of the subscription"),
            }
        }
    }
}

/// All partitions of a topic, from its beginning.
pub(crate) fn from_start(topic: &str) -> CmdKafkaSubscribe {
    from(topic, kafka_source::From::Timestamp(-2))
}

/// All partitions of a topic, from its end.
pub(crate) fn from_end(topic: &str) -> CmdKafkaSubscribe {
    from(topic, kafka_source::From::Timestamp(-1))
}

/// All partitions of a topic.
pub(crate) fn from(topic: &str, from: kafka_source::From) -> CmdKafkaSubscribe {
    let source = KafkaSource { topic: topic.to_owned(), from: Some(from), ..Default::default() };
    CmdKafkaSubscribe { sources: vec![source], ..Default::default() }
}

/// Writes these values to a partition, and returns the offset of the first.
pub(crate) async fn write(kafka: &Kafka, topic: &str, partition: i32, values: &[String]) -> i64 {
    let records: Vec<Record> = values.iter().map(|value| Record::of(value.clone())).collect();
    kafka.produce(topic, partition, &records, Write::default()).await.unwrap()[0]
}

/// `count` values that begin with `name`.
pub(crate) fn numbered(name: &str, count: usize) -> Vec<String> {
    (0..count).map(|number| format!("{name} {number}")).collect()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("text")
}
