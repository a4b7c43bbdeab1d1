//! Revoked identities: how many are known, and whether they can be read.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// The metrics of revoked identities.
#[derive(Debug, Clone, Default)]
pub struct RevocationMetrics {
    known: Gauge,
    left_out: Gauge,
    unreadable: Gauge,
    invalid: Counter,
    invalid_lines: Gauge,
}

impl RevocationMetrics {
    /// So many are known. Some of them are left out, because there are too many.
    pub fn known(&self, count: usize, left_out: usize) {
        self.known.set(number(count));
        self.left_out.set(number(left_out));
    }

    /// Whether the topic can be read.
    pub fn readable(&self, is_readable: bool) {
        self.unreadable.set(i64::from(!is_readable));
    }

    /// A record of the topic is no revocation.
    pub fn invalid(&self) {
        self.invalid.inc();
    }

    /// So many lines of the list are no revocation.
    pub fn invalid_lines(&self, count: usize) {
        self.invalid_lines.set(number(count));
    }

    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register("revocations", "Revoked identities that are known", self.known.clone());
        let left_out = "Revoked identities that do not count, because there are too many";
        registry.register("revocations_left_out", left_out, self.left_out.clone());
        let unreadable = "1 while the topic with revoked identities cannot be read";
        registry.register("revocations_unreadable", unreadable, self.unreadable.clone());
        let invalid = "Records of the topic that are no revocation";
        registry.register("revocations_invalid", invalid, self.invalid.clone());
        let invalid_lines = "Lines of the list that are no revocation";
        registry.register("revocations_invalid_lines", invalid_lines, self.invalid_lines.clone());
    }
}

fn number(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
