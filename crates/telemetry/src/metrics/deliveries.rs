//! Deliveries to clients of each of the gateway's routes, and the lag of subscriptions.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use super::labels::{ClusterLabel, GatewayRouteLabels};

/// Of all clusters.
#[derive(Clone)]
pub(super) struct Deliveries {
    records: Family<GatewayRouteLabels, Counter>,
    bytes: Family<GatewayRouteLabels, Counter>,
    hidden: Family<GatewayRouteLabels, Counter>,
    lag: Family<ClusterLabel, Histogram, fn() -> Histogram>,
}

/// Of one cluster, by route. Routes appear with their first client.
pub(super) struct Routes {
    deliveries: Deliveries,
    cluster: String,
    /// At most [`MAX_ROUTES`] and [`OTHER`].
    known: Mutex<HashMap<Box<str>, Arc<RouteMetrics>>>,
}

/// Of one route at one cluster.
#[derive(Debug, Default)]
pub struct RouteMetrics {
    name: Arc<str>,
    records: Counter,
    bytes: Counter,
    hidden: Counter,
}

impl Default for Deliveries {
    fn default() -> Self {
        let lag = Family::new_with_constructor((|| Histogram::new(LAG_BUCKETS)) as fn() -> Histogram);
        Self { records: Family::default(), bytes: Family::default(), hidden: Family::default(), lag }
    }
}

impl Deliveries {
    pub(super) fn register(&self, registry: &mut Registry) {
        let records = "Records that clients got, by the gateway's route";
        registry.register("delivered_records", records, self.records.clone());
        let bytes = "Bytes of these records in protobuf, with keys, headers and offsets";
        registry.register("delivered_bytes", bytes, self.bytes.clone());
        let hidden = "Records that were read and left out by rows and filters, by the gateway's route";
        registry.register("hidden_records", hidden, self.hidden.clone());
        let lag = "Records that subscriptions are behind, of each one every 15 s";
        registry.register("subscription_lag_records", lag, self.lag.clone());
    }

    pub(super) fn lag(&self, name: &str) -> Histogram {
        self.lag.get_or_create_owned(&ClusterLabel { cluster: name.to_owned() })
    }

    pub(super) fn cluster(&self, name: &str) -> Routes {
        Routes { deliveries: self.clone(), cluster: name.to_owned(), known: Mutex::default() }
    }
}

impl Routes {
    /// The counters of the route that a gateway names.
    pub(super) fn route(&self, named: Option<&[u8]>) -> Arc<RouteMetrics> {
        let name = named.map_or(NONE, |name| label(name).unwrap_or(OTHER));
        // Held until the route is added: concurrent first clients do not exceed the limit.
        let mut known = self.known.lock();
        let name = if known.contains_key(name) || known.len() < MAX_ROUTES { name } else { OTHER };
        if let Some(known) = known.get(name) {
            return Arc::clone(known);
        }
        let gateway_route =
            || GatewayRouteLabels { cluster: self.cluster.clone(), gateway_route: name.to_owned() };
        let Deliveries { records, bytes, hidden, .. } = &self.deliveries;
        let route = Arc::new(RouteMetrics {
            name: name.into(),
            records: records.get_or_create_owned(&gateway_route()),
            bytes: bytes.get_or_create_owned(&gateway_route()),
            hidden: hidden.get_or_create_owned(&gateway_route()),
        });
        known.insert(name.into(), Arc::clone(&route));
        route
    }
}

impl RouteMetrics {
    /// The route, as labels name it.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Clients got so many records.
    pub fn delivered(&self, records: usize, bytes: usize) {
        self.records.inc_by(records as u64);
        self.bytes.inc_by(bytes as u64);
    }

    /// So many records were left out.
    pub fn hidden(&self, records: usize) {
        self.hidden.inc_by(records as u64);
    }

    /// The records, their bytes, and the hidden records so far.
    #[cfg(any(test, feature = "testing"))]
    pub fn counts(&self) -> [u64; 3] {
        [&self.records, &self.bytes, &self.hidden].map(|counter| counter.get())
    }
}

/// A path as gateways send it.
fn label(name: &[u8]) -> Option<&str> {
    let is_path = (1..=MAX_ROUTE_BYTES).contains(&name.len()) && name.iter().all(u8::is_ascii_graphic);
    std::str::from_utf8(name).ok().filter(|_| is_path)
}

/// In records.
const LAG_BUCKETS: [f64; 9] = [0.0, 1.0, 10.0, 100.0, 1e3, 1e4, 1e5, 1e6, 1e7];
/// Clients without a gateway's filter, and those of a filter that does not name its routes.
const NONE: &str = "none";
/// Routes beyond the limits.
pub(super) const OTHER: &str = "other";
/// Routes of one cluster that have a label.
const MAX_ROUTES: usize = 100;
/// The longest label of a route.
const MAX_ROUTE_BYTES: usize = 100;
