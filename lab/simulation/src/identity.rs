//! Identities of clients: rights that change, expire, and are revoked, and what clients may get with them.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use sluicegate_delivery::cluster::Cluster;
use sluicegate_delivery::grant::{Grant, Holding, Person};
use sluicegate_fair_share::ClientKey;
use sluicegate_protocol::KafkaMessage;
use sluicegate_rights::{Pattern, Rights, Row, Topics};
use tokio::time::{Instant, sleep};

use crate::client::LastEvent;
use crate::history::View;
use crate::schedule::key;
use crate::world::{World, until};

/// The identity of a client that reads one topic. The records of some keys are granted always, those of others at times.
pub(crate) struct Identity {
    world: Arc<World>,
    topic: String,
    state: Mutex<State>,
    random: Mutex<fastrand::Rng>,
}

struct State {
    is_wide: bool,
    /// When that changed.
    changed: Instant,
    /// Of the last session.
    held: Option<Held>,
}

struct Held {
    grant: Grant,
    person: Arc<Person>,
    /// From then on, the client may get nothing.
    over: Instant,
}

impl State {
    fn over(&self) -> Instant {
        self.held.as_ref().map_or_else(Instant::now, |held| held.over)
    }
}

impl Identity {
    fn new(world: &Arc<World>, topic: &str, random: &mut fastrand::Rng) -> Arc<Self> {
        Arc::new(Self {
            world: Arc::clone(world),
            topic: topic.to_owned(),
            state: Mutex::new(State { is_wide: random.bool(), changed: Instant::now(), held: None }),
            random: Mutex::new(random.fork()),
        })
    }

    fn draw(&self, up_to: u64) -> u64 {
        self.random.lock().u64(..up_to)
    }

    /// The keys whose records are granted now.
    pub(crate) fn keys_now(&self) -> Vec<Bytes> {
        self.keys(self.state.lock().is_wide)
    }

    fn keys(&self, is_wide: bool) -> Vec<Bytes> {
        (0..if is_wide { WIDE } else { NARROW })
            .map(|number| key(&self.topic, number, self.world.is_nats()))
            .collect()
    }

    fn rights(&self, is_wide: bool) -> Rights {
        let topic = || Pattern::Name(self.topic.as_str().into());
        let row = |key: Bytes| {
            let key = String::from_utf8_lossy(&key).into();
            if self.world.is_nats() { Row::Subjects(vec![key]) } else { Row::KeyPrefix(key) }
        };
        let granted = self.keys(is_wide).into_iter().map(|key| (topic(), Some(row(key))));
        Rights { read: Some(granted.collect()), write: None, ..Rights::default() }
    }

    /// The end of an identity that is issued now.
    fn expires(&self) -> Instant {
        let life = if self.world.is_calm() { LONG } else { Duration::from_millis(1 + self.draw(6_000)) };
        Instant::now() + life
    }

    /// The grant of a session that begins.
    pub(crate) fn grant(&self, cluster: &Arc<Cluster>, client: ClientKey) -> Grant {
        let (person, over) = (Arc::new(Person::new(None, None, None, None)), self.expires());
        let holding = Holding { person: Arc::clone(&person), expires: Some(over) };
        let mut state = self.state.lock();
        let rights = self.rights(state.is_wide);
        let grant = Grant::new(Arc::clone(cluster), client, None, rights);
        let grant = grant.held(Some(holding), None).with_tables(Topics::default());
        state.held = Some(Held { grant: grant.clone(), person, over });
        grant
    }

    /// Renews it, with the same rights or others, and revokes it, until it is dropped.
    pub(crate) async fn run(self: Arc<Self>) {
        while !self.world.is_calm() {
            sleep(Duration::from_micros(self.draw(4_000_000))).await;
            match self.draw(5) {
                0 => self.revoke(),
                1 | 2 => self.renew(false),
                _ => self.renew(true),
            }
        }
        self.renew(true);
    }

    /// Forgets the last session.
    pub(crate) fn log_out(&self) {
        self.state.lock().held = None;
    }

    fn revoke(&self) {
        if let Some(held) = &mut self.state.lock().held {
            held.person.revoke();
            held.over = held.over.min(Instant::now());
            self.world.event(|| format!("the identity for {} is revoked", self.topic));
        }
    }

    fn renew(&self, changes: bool) {
        let expires = self.expires();
        let mut state = self.state.lock();
        if changes {
            (state.is_wide, state.changed) = (!state.is_wide, Instant::now());
        }
        let is_wide = state.is_wide;
        self.world.event(|| format!("the identity for {} is renewed; is it wide: {is_wide}", self.topic));
        if let Some(held) = state.held.as_mut().filter(|held| held.over > Instant::now()) {
            // A session learns of an earlier end by its own command only.
            held.over = held.over.max(expires);
            let holding = Holding { person: Arc::clone(&held.person), expires: Some(held.over) };
            held.grant.renew(self.rights(is_wide), holding);
        }
    }

    /// Whether the client's session must be over.
    pub(crate) fn is_over(&self) -> bool {
        self.state.lock().over() <= Instant::now()
    }

    /// The next message of the client's session, which ends soon after its identity.
    pub(crate) async fn within<T>(&self, message: impl Future<Output = Option<T>>) -> Option<T> {
        let message = until(|| self.state.lock().over() + SOON, message).await;
        message.unwrap_or_else(|| {
            self.world.broken(format!("a session for {} outlives its identity", self.topic));
            None
        })
    }

    /// Checks that the client's session, which ends because its identity is over, does not end before.
    pub(crate) fn check_end(&self) {
        if !self.is_over() {
            self.world.broken(format!("a session for {} ends before its identity", self.topic));
        }
    }

    /// Checks that the client may get these records.
    pub(crate) fn check(&self, messages: &[KafkaMessage]) {
        if messages.is_empty() {
            return;
        }
        let (now, state) = (Instant::now(), self.state.lock());
        if state.over() < now {
            self.world.broken(format!("records of {} after the end of the identity", self.topic));
        }
        // Records under way come at the moment of the change.
        let granted = self.keys(state.is_wide || state.changed == now);
        let denied =
            messages.iter().find(|message| message.key.as_ref().is_none_or(|key| !granted.contains(key)));
        if let Some(denied) = denied {
            self.world.broken(format!("a record of {} that is not granted: {denied:?}", self.topic));
        }
    }
}

/// A client's topic, and its identity; `None`: it is nobody in particular, who may read everything.
pub(crate) struct Role {
    pub(crate) topic: String,
    pub(crate) identity: Option<Arc<Identity>>,
    /// As of the client.
    pub(crate) http: Option<LastEvent>,
    /// Whether it asks for values as JSON.
    pub(crate) decodes: bool,
}

impl Role {
    /// The records of the topic that the client must get.
    pub(crate) fn view(&self, committed: bool) -> View {
        View { committed, keys: self.identity.as_ref().map(|identity| identity.keys(false)) }
    }
}

pub(crate) struct People {
    /// For identities alone, so that others draw what they would draw without them.
    random: fastrand::Rng,
    /// Whether some of them have identities.
    are_known: bool,
    pub(crate) identities: Vec<Arc<Identity>>,
}

impl People {
    /// Of the schedule of a seed: two of sixteen have clients with identities.
    pub(crate) fn new(seed: u64) -> Self {
        let random = fastrand::Rng::with_seed(!seed);
        Self { random, are_known: Self::are_known(seed), identities: Vec::new() }
    }

    /// Whether clients of a seed have identities.
    pub(crate) fn are_known(seed: u64) -> bool {
        seed % 16 >= 14
    }

    /// The role of a client that reads one of these topics.
    pub(crate) fn role(
        &mut self,
        world: &Arc<World>,
        topics: &[String],
        http: Option<LastEvent>,
        random: &mut fastrand::Rng,
    ) -> Role {
        let topic = topics[random.usize(..topics.len())].clone();
        let has_identity = self.are_known && self.random.u8(..3) < 2;
        let identity = has_identity.then(|| Identity::new(world, &topic, &mut self.random));
        self.identities.extend(identity.clone());
        Role { topic, identity, http, decodes: false }
    }
}

/// Keys that are granted always.
const NARROW: u8 = 2;
/// Keys that are granted at times.
const WIDE: u8 = 4;
/// An identity that lasts longer than the schedule.
const LONG: Duration = Duration::from_secs(3600);
/// The time in which a session notices that its identity is over.
const SOON: Duration = Duration::from_millis(100);
