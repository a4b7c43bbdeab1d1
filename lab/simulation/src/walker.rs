//! A client that reads one partition by fetches, each from where the last one ended.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use sluicegate_protocol::pub_sub_req::Req;
use sluicegate_protocol::pub_sub_resp::Resp;
use sluicegate_protocol::{
    CmdKafkaFetch, CmdKafkaListOffset, CmdPing, KafkaFetchResp, KafkaListOffsetResp, Reason,
};
use tokio::time::{Instant, sleep};

use crate::client::{Caller, Client, Kind, check_size, describe};
use crate::history::{History, View};
use crate::identity::Role;
use crate::kafka::State;
use crate::kafka::log::Log;
use crate::world::World;

pub(crate) struct Walker {
    pub(crate) caller: Caller,
    view: View,
    state: Mutex<Position>,
}

#[derive(Debug, Default)]
struct Position {
    /// The id of the topic that it reads, as Kafka knows it.
    topic_id: u128,
    history: History,
}

impl Walker {
    pub(crate) fn new(number: usize, role: Role, random: &mut fastrand::Rng) -> Arc<Self> {
        let view = role.view(random.bool());
        let caller = Caller::new((Kind::Walker, number), role, random.fork());
        Arc::new(Self { caller, view, state: Mutex::default() })
    }

    /// Whether it still lacks a record.
    pub(crate) fn lacks(&self, kafka: &State) -> bool {
        let position = self.state.lock();
        let (id, log) = self.log(kafka);
        let end = log.end_for(self.view.committed);
        position.topic_id != id || position.history.lacks(log, &self.view, end)
    }

    /// The id of its topic, and the log of the first partition, which is what it reads.
    fn log<'a>(&self, kafka: &'a State) -> (u128, &'a Log) {
        let topic = &kafka.topics[&self.caller.topic];
        (topic.id, &topic.partitions[0].log)
    }

    /// Reads until it is dropped.
    pub(crate) async fn run(self: Arc<Self>, world: Arc<World>) {
        loop {
            if let Some(client) = self.caller.connect(&world).await {
                let fetches = self.caller.random.lock().usize(1..20);
                self.caller.cut.unless_cut(self.visit(&world, client, fetches)).await;
            }
            sleep(Duration::from_millis(20)).await;
        }
    }

    async fn visit(&self, world: &World, mut client: Client, fetches: usize) {
        for sequence in (1..).take(fetches) {
            let asks = self.caller.random.lock().u8(..5) == 0;
            if asks && self.ask_end(world, &mut client, sequence).await.is_none() {
                return;
            }
            let asked = Instant::now();
            let (command, end) = self.begin(&world.kafka.state());
            let (max_bytes, max_records) = (command.max_bytes, command.max_records);
            let resp = self.ask(world, &mut client, sequence, Req::CmdKafkaFetch(command)).await;
            let Some(resp) = resp else { return };
            if let Resp::KafkaFetchResp(KafkaFetchResp { messages, .. }) = &resp
                && let Err(problem) = check_size(messages, max_bytes, max_records)
            {
                return self.caller.broken(world, &problem);
            }
            let taken = self.take(&world.kafka.state(), world, &resp, (asked, end));
            match taken {
                Err(problem) => return self.caller.broken(world, &problem),
                Ok(pause) => sleep(pause).await,
            }
        }
    }

    /// The answer to a command, beside which a ping can be under way; `None` if the session has ended.
    async fn ask(&self, world: &World, client: &mut Client, sequence: i64, command: Req) -> Option<Resp> {
        self.caller.event(world, || format!("asks {command:?}"));
        let wait = match &command {
            Req::CmdKafkaFetch(fetch) => fetch.max_wait_ms.unwrap_or(500),
            _ => 0,
        };
        let longest = match (world.is_nats(), self.caller.decodes) {
            (true, _) => PATIENCE_ON_NATS,
            (false, false) => PATIENCE,
            (false, true) => PATIENCE + LOOK_UP,
        };
        let patience = longest + Duration::from_millis(wait.into()) + client.owed();
        client.send(sequence, command).await.ok()?;
        let pings = self.caller.random.lock().bool();
        if pings {
            client.send(-sequence, Req::CmdPing(CmdPing::default())).await.ok()?;
        }
        let answer = async {
            loop {
                match client.next().await? {
                    (_, Resp::PongResp(_)) => {}
                    answer => return Some(answer),
                }
            }
        };
        match self.caller.in_time(world, patience, answer).await? {
            (of, resp) if of == sequence => {
                self.caller.event(world, || format!("gets {}", describe(&resp)));
                Some(resp)
            }
            other => {
                self.caller.broken(world, &format!("unexpected {other:?}"));
                None
            }
        }
    }

    /// Asks for the end of the log, which is between those at the question and at the answer.
    async fn ask_end(&self, world: &World, client: &mut Client, sequence: i64) -> Option<()> {
        let end = || {
            let kafka = world.kafka.state();
            let (id, log) = self.log(&kafka);
            (id, log.committed)
        };
        let (id, before) = end();
        let command = CmdKafkaListOffset { topic: self.caller.topic.clone(), partition: 0, timestamp: -1 };
        let resp = self.ask(world, client, 1_000 + sequence, Req::CmdKafkaListOffset(command)).await?;
        let (same, after) = end();
        match resp {
            Resp::KafkaListOffsetResp(KafkaListOffsetResp { offset }) => {
                let is_sure = id == same && !world.profile.lags && !world.profile.is_unclean;
                if is_sure && !(before..=after).contains(&offset) {
                    self.caller
                        .broken(world, &format!("the end is {offset}, which was {before} and is {after}"));
                }
            }
            Resp::ErrorResp(error) if error.retriable => {}
            other => self.caller.broken(world, &format!("unexpected {other:?}")),
        }
        Some(())
    }

    /// The next fetch, and the end of what it must be told of.
    fn begin(&self, kafka: &State) -> (CmdKafkaFetch, i64) {
        let mut position = self.state.lock();
        let (topic_id, log) = self.log(kafka);
        if position.topic_id != topic_id {
            *position = Position { topic_id, history: History::default() };
        }
        let random = &mut *self.caller.random.lock();
        let wait = match random.u8(..6) {
            0 => Some(0),
            1 | 2 => Some(random.u32(..3_000)),
            _ => None,
        };
        let command = CmdKafkaFetch {
            topic: self.caller.topic.clone(),
            partition: 0,
            offset: position.history.next,
            max_wait_ms: wait,
            max_bytes: if random.bool() { random.u32(1..500) } else { 0 },
            max_records: if random.u8(..4) == 0 { random.u32(1..5) } else { 0 },
            min_bytes: if random.u8(..4) == 0 { random.u32(1..500) } else { 0 },
            isolation: i32::from(self.view.committed),
            decode: self.caller.decodes,
            ..CmdKafkaFetch::default()
        };
        (command, log.end_for(self.view.committed))
    }

    /// Takes an answer. Gives the time to wait before the next fetch.
    fn take(
        &self,
        kafka: &State,
        world: &World,
        resp: &Resp,
        (asked, end): (Instant, i64),
    ) -> Result<Duration, String> {
        let mut position = self.state.lock();
        let (id, log) = self.log(kafka);
        if id != position.topic_id {
            // An offset does not say of which topic.
            return Ok(Duration::ZERO);
        }
        match resp {
            Resp::KafkaFetchResp(KafkaFetchResp { messages, next_offset, .. }) => {
                let (next, messages) = (*next_offset, &*self.caller.stored(world, messages, Some(asked))?);
                if world.profile.is_unclean && log.has_lost_after(position.history.since) {
                    // A fetch does not tell.
                    position.history = History::at(log.committed);
                    position.history.come_back(log);
                    return Ok(Duration::ZERO);
                }
                let lacks = || position.history.lacks(log, &self.view, end);
                // A search for records of some keys ends after a while.
                let is_search = self.caller.identity.is_some() && next > position.history.next;
                if messages.is_empty()
                    && next < end
                    && !is_search
                    && !world.profile.lags
                    && !world.profile.is_unclean
                    && !world.settings.has_rack
                    && lacks()
                {
                    let from = position.history.next;
                    return Err(format!("nothing from {from} on, although {end} was committed before"));
                }
                if world.profile.is_unclean {
                    position.history.come_back(log);
                }
                let from = position.history.next;
                let taken = position.history.take(log, &self.view, messages, next);
                let is_of = |log: &Log| History::at(from).take(log, &self.view, messages, next).is_ok();
                if taken.is_err() && world.profile.recreates && kafka.gone(&self.caller.topic).any(is_of) {
                    // Memory has records of the topic that was there before.
                    *position = Position::default();
                    return Ok(Duration::ZERO);
                }
                // One that does not wait looks now and then.
                taken.map(|()| if messages.is_empty() { Duration::from_millis(30) } else { Duration::ZERO })
            }
            Resp::ErrorResp(error) => match Reason::try_from(error.reason) {
                Ok(Reason::OffsetOutOfRange) if position.history.next < log.deleted => {
                    position.history = History::at(log.start.max(position.history.next));
                    Ok(Duration::from_millis(10))
                }
                Ok(Reason::OffsetOutOfRange) if world.profile.is_unclean => {
                    position.history = History::at(log.committed);
                    position.history.come_back(log);
                    Ok(Duration::from_millis(10))
                }
                // A broker that does not know that it is not the leader any more.
                Ok(Reason::OffsetOutOfRange) if world.profile.lags => Ok(Duration::from_millis(50)),
                _ if error.retriable => Ok(Duration::from_millis(u64::from(error.retry_after_ms).max(50))),
                _ => Err(format!("{error:?} at {} of {:?}", position.history.next, (log.start, log.end))),
            },
            other => Err(format!("unexpected {other:?}")),
        }
    }
}

/// The longest time for an answer besides its wait: `socket.timeout.ms` for the records, and once more for the ends of the
/// log in an error, and some.
const PATIENCE: Duration = Duration::from_secs(12);

/// The longest look-up of a schema.
const LOOK_UP: Duration = Duration::from_secs(10);

/// The same on NATS: `request.timeout.ms` for the end of a wait, twice if it begins while others ask, and for a read, and
/// some.
const PATIENCE_ON_NATS: Duration = Duration::from_secs(17);
