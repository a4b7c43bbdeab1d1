//! The stacks that the tests read through.

use std::sync::Once;
use std::time::Duration;
use std::{fs, panic};

use sluicegate_stack::envoy::Profile;
use sluicegate_stack::kafka::Kafka;
use sluicegate_stack::stack::{BridgeConfig, Setup, Stack};
use sluicegate_stack::tools;
use sluicegate_stack::way::Way;
use tokio::sync::OnceCell;

/// The Kafka of all tests, and the gateway of all tests of a way in, every setting at its default.
pub(crate) async fn shared(way: impl Into<Way>) -> (&'static Kafka, &'static Stack) {
    let kafka = kafka().await;
    let way = way.into();
    let start = async || ready(Setup::new(way, kafka.bootstrap())).await;
    (kafka, SHARED[way as usize].get_or_init(start).await)
}

/// As [`shared`], with the smallest answers, records of at most 64 KiB and batches of at most 512 KiB.
pub(crate) async fn tight(profile: Profile) -> (&'static Kafka, &'static Stack) {
    let kafka = kafka().await;
    let settings = format!("[read]\nmax_bytes = {TIGHT_ANSWER}");
    let properties = format!(
        "\"message.max.bytes\" = \"{TIGHT_RECORD}\"\n\"receive.message.max.bytes\" = \"{TIGHT_RESPONSE}\""
    );
    let start = async || with(profile, kafka, &settings, &properties).await;
    (kafka, TIGHT[Way::from(profile) as usize].get_or_init(start).await)
}

static SHARED: Stacks = [const { OnceCell::const_new() }; Way::COUNT];
static TIGHT: Stacks = [const { OnceCell::const_new() }; Way::COUNT];

/// One for each way in.
type Stacks = [OnceCell<Stack>; Way::COUNT];

async fn kafka() -> &'static Kafka {
    let kafka = Kafka::shared().await.unwrap();
    // Processes that all tests share outlive a failed test, and their folders do not outlive the process: tell of the
    // logs now.
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let told_before = panic::take_hook();
        panic::set_hook(Box::new(move |panic| {
            told_before(panic);
            tell(kafka);
        }));
    });
    assert_version(kafka);
    kafka
}

/// The running broker has the version that a recipe chose, by the jar that it has open.
fn assert_version(kafka: &Kafka) {
    let Some(want) = tools::kafka_version() else { return };
    let files = fs::read_dir(format!("/proc/{}/fd", kafka.nodes[0].process.id())).unwrap();
    let mut open =
        files.filter_map(|file| fs::read_link(file.ok()?.path()).ok()?.into_os_string().into_string().ok());
    let jar = open.find(|file| file.contains("/kafka_2.13-")).expect("a broker that has its jar open");
    assert!(jar.contains(&format!("/kafka_2.13-{want}.")), "{jar} instead of Kafka {want}");
}

#[expect(clippy::print_stderr, reason = "a failed test's last words")]
fn tell(kafka: &Kafka) {
    let stacks = SHARED.iter().chain(&TIGHT).filter_map(OnceCell::get);
    let gateways = stacks.flat_map(Stack::processes);
    for process in gateways.chain(kafka.nodes.iter().map(|node| &node.process)) {
        eprintln!("--- the end of {}\n{}", process.log().display(), process.log_tail());
    }
}

/// A gateway of a test's own, with `settings` in front of the bridge's cluster and `properties` in it.
pub(crate) async fn with(profile: Profile, kafka: &Kafka, settings: &str, properties: &str) -> Stack {
    let bootstrap = kafka.bootstrap();
    let text =
        format!("{settings}\n[clusters.default]\n\"bootstrap.servers\" = {bootstrap:?}\n{properties}\n");
    let bridge = BridgeConfig::Text(text);
    ready(Setup { bridge, ..Setup::new(profile, bootstrap) }).await
}

async fn ready(setup: Setup) -> Stack {
    let mut stack = Stack::start(setup).await.unwrap();
    stack.ready_within(Duration::from_secs(30)).await.unwrap();
    stack
}

/// Bytes.
pub(crate) const TIGHT_ANSWER: usize = 1024;
/// Bytes.
pub(crate) const TIGHT_RECORD: usize = 64 * 1024;
/// Bytes.
pub(crate) const TIGHT_RESPONSE: usize = 512 * 1024;
