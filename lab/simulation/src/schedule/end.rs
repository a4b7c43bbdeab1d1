//! Rests and the end of a schedule: everything is healed, and nothing may be missing or, at the end, left.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use sluicegate_delivery::cluster::TableLimits;
use tokio::time::{Instant, sleep};

use super::{Schedule, key};
use crate::kafka::State;
use crate::kafka::log::Log;
use crate::network::FaultState;
use crate::quota;
use crate::registry::SchemaRegistry;
use crate::world::World;

impl Schedule {
    /// Heals everything, waits until all clients have everything, also of what is written then, and looks for what is left
    /// when all are gone.
    pub(super) async fn end(mut self, settles: bool) -> Arc<World> {
        self.world.is_calm.store(true, Ordering::Relaxed);
        self.world.registry.iter().for_each(SchemaRegistry::heal);
        self.heal().await;
        // Further records would wake those who have missed one.
        self.wait_for("after all is well", RECOVERY, || self.late()).await;
        if settles {
            sleep(SETTLED).await;
        }
        let within = if settles { ARRIVAL } else { RECOVERY };
        self.world.kafka.change(|kafka| {
            for (topic, log) in logs(kafka) {
                let key = key(topic, 0, self.world.is_nats());
                let value = match &self.world.registry {
                    Some(registry) => registry.value("last".to_owned()),
                    None => Bytes::from_static(b"last"),
                };
                log.append(None, vec![(Some(key), Some(value))]);
                log.commit(log.end);
            }
        });
        self.wait_for("after the last records", within, || self.late()).await;
        self.check_bounds();
        let gone = Instant::now();
        self.clients.shutdown().await;
        self.identities.iter().for_each(|identity| identity.log_out());
        // Sessions notice that their clients are gone; tables wait for records without any.
        sleep(Duration::from_secs(1)).await;
        let has_queued =
            || self.world.bridges.lock().iter().any(|bridge| bridge.backend.has_queued_records());
        let left = || "after all producers are gone, their records wait".to_owned();
        self.wait_while((gone, RECOVERY), has_queued, left).await;
        let may_lose = self.world.profile.is_unclean;
        let checked = self.producers.iter().map(|each| each.check(&self.world.kafka.state(), may_lose));
        let repeated = self.repeaters.iter().map(|each| each.check(&self.world.kafka.state(), may_lose));
        for checked in checked.chain(repeated).collect::<Vec<_>>() {
            match checked {
                Ok(writes) => self.world.outcome.lock().writes.extend(writes),
                Err(problem) => self.world.broken(problem),
            }
        }
        let waiters: u64 = self.world.bridges.lock().iter().map(|bridge| bridge.logs.stats().waiters).sum();
        if self.tables.is_empty() && waiters > 0 {
            self.world.broken(format!("{waiters} waits at ends of logs are left when all clients are gone"));
        }
        let mut tables = Vec::new();
        for bridge in self.world.bridges.lock().drain(..) {
            bridge.killed.cancel();
            tables.push(bridge.tables.clone());
            let bytes = bridge.bytes_left();
            if bytes > 0 {
                self.world.broken(format!("{bytes} bytes count as kept, of records that are too old"));
            }
        }
        let metrics = tokio::runtime::Handle::current().metrics();
        let tasks = || metrics.num_alive_tasks();
        let left = || format!("after all are gone, {} tasks are left", tasks());
        self.wait_while((Instant::now(), RECOVERY), || tasks() > 0, left).await;
        for (bytes, tables) in tables.iter().map(TableLimits::used).filter(|used| *used != (0, 0)) {
            self.world.broken(format!("{bytes} bytes of {tables} tables count as kept when all are gone"));
        }
        Arc::clone(&self.world)
    }

    /// Heals everything, and waits until all who read have everything; others go on. What a later event would wake is
    /// noticed here.
    pub(super) async fn rest(&mut self) {
        self.heal().await;
        self.world.rests.store(true, Ordering::Relaxed);
        self.world.registry.iter().for_each(SchemaRegistry::heal);
        self.wait_for("in a rest", RECOVERY, || self.late_readers()).await;
        self.world.rests.store(false, Ordering::Relaxed);
    }

    /// Ends all faults, and all that has begun.
    async fn heal(&mut self) {
        *self.world.faults.state.lock() = FaultState::default();
        self.world.faults.arm_clock(None);
        self.subscribers.iter().for_each(|subscriber| subscriber.pause(Duration::ZERO));
        while self.events.join_next().await.is_some() {}
        self.world.event(|| "all is well again".to_owned());
        self.world.kafka.change(|kafka| {
            for broker in &mut kafka.brokers {
                (broker.is_up, broker.hangs_until, broker.lag) = (true, None, Duration::ZERO);
                broker.throttles = None;
            }
            for (_, log) in logs(kafka) {
                while let Some(producer) = log.open.keys().next().copied() {
                    log.end_transaction(producer, true);
                }
                log.commit(log.end);
            }
        });
    }

    /// Waits until no client is late.
    async fn wait_for<L: Iterator<Item = String>>(&self, when: &str, within: Duration, late: impl Fn() -> L) {
        let left = || format!("{when}: {}", late().collect::<Vec<_>>().join(", "));
        let within = within + self.time_of_quotas();
        self.wait_while((Instant::now(), within), || late().next().is_some(), left).await;
    }

    /// Waits until nothing is left to wait for. That there is something so long after `begun` is a problem.
    async fn wait_while(
        &self,
        (begun, within): (Instant, Duration),
        is_left: impl Fn() -> bool,
        left: impl Fn() -> String,
    ) {
        while !self.world.has_problems() && is_left() {
            if begun.elapsed() > within {
                self.world.broken(format!("{within:?} {}", left()));
            }
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// The longest time that a quota lets a client wait.
    fn time_of_quotas(&self) -> Duration {
        if !self.world.settings.has_quotas {
            return Duration::ZERO;
        }
        let size: usize = self.world.kafka.change(|kafka| logs(kafka).map(|(_, log)| log.size()).sum());
        quota::time_of(size as u64)
    }

    /// Clients that lack a record, or have one to write.
    fn late(&self) -> impl Iterator<Item = String> {
        let producers = self.producers.iter().filter(|producer| producer.has_more_to_write());
        let late = |name: &String| format!("{name} has not written its last records");
        let repeaters = self.repeaters.iter().filter(|repeater| repeater.has_more_to_write());
        let names = producers.map(|producer| &producer.caller.name);
        let names = names.chain(repeaters.map(|repeater| &repeater.caller.name));
        names.map(late).chain(self.late_readers())
    }

    /// Clients that lack a record. Tables come last: their check replays a log.
    fn late_readers(&self) -> impl Iterator<Item = String> {
        let kafka = &self.world.kafka;
        let subscribers = self.subscribers.iter().filter_map(|subscriber| {
            let partition = subscriber.lacks(&kafka.state())?;
            Some(format!("{} lacks records of partition {partition}", subscriber.caller.name))
        });
        let walkers = self.walkers.iter().filter(|walker| walker.lacks(&kafka.state()));
        let walkers = walkers.map(|walker| format!("{} lacks records", walker.caller.name));
        let tables = self.tables.iter().filter_map(|table| {
            Some(format!("{} is not a replay: {}", table.caller.name, table.differs(&kafka.state())?))
        });
        subscribers.chain(walkers).chain(tables)
    }
}

/// The logs of all topics.
pub(super) fn logs(kafka: &mut State) -> impl Iterator<Item = (&String, &mut Log)> {
    kafka.topics.iter_mut().flat_map(|(name, topic)| {
        topic.partitions.iter_mut().map(move |partition| (name, &mut partition.log))
    })
}

/// The time in which clients must have everything once nothing fails any more.
const RECOVERY: Duration = Duration::from_secs(60);

/// The time after which no client pauses any more, and every connection that was silent is given up.
const SETTLED: Duration = Duration::from_secs(40);

/// The time in which a record is at all clients then. A consumer of NATS that is silent is noticed after some seconds.
const ARRIVAL: Duration = Duration::from_secs(6);
