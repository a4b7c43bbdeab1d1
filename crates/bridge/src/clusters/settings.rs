//! Settings of all clusters.

use std::sync::Arc;
use std::time::Duration;

use sluicegate_delivery::cluster::{MAX_RECORDS, Reads};
use sluicegate_dialect::session::MAX_RESULT_BYTES;
use tokio::task::spawn_blocking;

use super::RouteClusterError;
use super::definition::Definition;
use crate::config::{self, ClusterConfig, Config, PropertyError, is_of_definition};

/// The settings that clusters share, and those of routes' clusters.
pub(super) struct Settings {
    pub(super) reads: Reads,
    /// Records per write.
    pub(super) max_records: usize,
    pub(super) drain_timeout: Duration,
    /// `[route_clusters]`.
    pub(super) routes: Arc<config::RouteClusters>,
    /// Whether every gateway has authenticated.
    pub(super) knows_gateways: bool,
}

impl Settings {
    pub(super) fn of(config: &Config) -> Self {
        let answer_bytes = usize::try_from(config.limits.session_answer_bytes).unwrap_or(usize::MAX);
        Self {
            reads: Reads {
                max_bytes: config.read.max_bytes,
                wait: config.read.wait,
                table_away: config.read.table_away,
            },
            max_records: answer_bytes.saturating_div(MAX_RESULT_BYTES).min(MAX_RECORDS),
            drain_timeout: config.session.drain_timeout,
            routes: Arc::new(config.route_clusters.clone()),
            knows_gateways: config.knows_gateways(),
        }
    }

    /// Checks that routes can name the brokers of a definition.
    pub(super) fn check_hosts(&self, definition: &Definition) -> Result<(), RouteClusterError> {
        match definition.nodes.iter().find(|node| !self.routes.allows(node)) {
            None => Ok(()),
            Some(node) => Err(RouteClusterError::Host(node.to_string())),
        }
    }

    /// The configuration of a route's cluster.
    pub(super) async fn cluster(
        &self,
        definition: &Arc<Definition>,
    ) -> Result<ClusterConfig, RouteClusterError> {
        let (routes, definition) = (Arc::clone(&self.routes), Arc::clone(definition));
        // Blocks: certificates are read from files.
        let parsed = spawn_blocking(move || routes.cluster(&definition.properties())).await;
        let parsed = parsed.map_err(|_| RouteClusterError::Unusable)?;
        parsed.map(|config| ClusterConfig::Kafka(config, None)).map_err(|errors| property_error(&errors))
    }
}

/// Clients see errors in the route's own definition. Others are only logged: they can name the bridge's files.
fn property_error(errors: &[PropertyError]) -> RouteClusterError {
    let (own, others): (Vec<_>, Vec<_>) = errors.iter().partition(|error| is_of_definition(&error.key));
    if others.is_empty() {
        let own: Vec<_> = own.iter().map(ToString::to_string).collect();
        return RouteClusterError::Invalid(own.join(", "));
    }
    for PropertyError { key, problem } in others {
        tracing::warn!(
            property = key,
            problem,
            event = "route_properties_invalid",
            "invalid route_clusters.properties"
        );
    }
    RouteClusterError::Unusable
}
