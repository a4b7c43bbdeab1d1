//! The limits of a person's quota, and how often they were reached.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

use super::labels::QuotaLabels;

/// A limit of a person's quota.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// Open sessions.
    Sessions,
    /// Open subscriptions.
    Subscriptions,
    /// Open consumers.
    Consumers,
    /// Commands a second.
    Commands,
    /// Written records a second.
    Records,
    /// Bytes of records that are delivered, a second.
    ReadBytes,
    /// Bytes of records that are written, a second.
    WriteBytes,
}

/// How often people reached the limits of their quotas, at one cluster.
#[derive(Debug, Default)]
pub struct QuotaMetrics([Counter; Limit::ALL.len()]);

#[derive(Debug, Clone, Default)]
pub(super) struct Quotas(Family<QuotaLabels, Counter>);

impl Limit {
    pub(super) const ALL: [Self; 7] = [
        Self::Sessions,
        Self::Subscriptions,
        Self::Consumers,
        Self::Commands,
        Self::Records,
        Self::ReadBytes,
        Self::WriteBytes,
    ];

    /// A name for metrics.
    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Sessions => "sessions",
            Self::Subscriptions => "subscriptions",
            Self::Consumers => "consumers",
            Self::Commands => "commands",
            Self::Records => "records",
            Self::ReadBytes => "read_bytes",
            Self::WriteBytes => "write_bytes",
        }
    }

    /// The thing that it counts, in words for clients.
    pub fn words(self) -> &'static str {
        match self {
            Self::Sessions => "sessions",
            Self::Subscriptions => "subscriptions",
            Self::Consumers => "consumers",
            Self::Commands => "commands a second",
            Self::Records => "records a second",
            Self::ReadBytes => "bytes a second that are read",
            Self::WriteBytes => "bytes a second that are written",
        }
    }
}

impl QuotaMetrics {
    /// A person reached a limit: something was refused, or has to wait.
    pub fn exceeded(&self, limit: Limit) {
        if let Some(exceeded) = self.0.get(limit as usize) {
            exceeded.inc();
        }
    }
}

impl Quotas {
    pub(super) fn cluster(&self, name: &str) -> QuotaMetrics {
        let labels = |limit: Limit| QuotaLabels { cluster: name.to_owned(), quota: limit.label() };
        QuotaMetrics(Limit::ALL.map(|limit| self.0.get_or_create_owned(&labels(limit))))
    }

    pub(super) fn register(&self, registry: &mut Registry) {
        let exceeded = "Refusals and waits because a person reached a limit of the route's quota";
        registry.register("quota_exceeded", exceeded, self.0.clone());
    }
}
