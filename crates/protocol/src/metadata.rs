//! Header names under the one prefix that only a gateway may use towards the bridge.

/// Every header of this prefix that a client sent is removed by the gateway's filter.
pub const PREFIX: &str = "sluicegate-";

/// Name of the cluster, in the bridge's configuration, that the session reads from.
pub const CLUSTER: &str = "sluicegate-cluster";

/// The secret that proves to the bridge that a gateway is asking.
pub const GATEWAY_SECRET: &str = "sluicegate-gateway-secret";

/// In place of [`CLUSTER`]: the cluster itself, a `ClusterDefinition` in base64, padded or not. The bridge takes it from a
/// gateway that has shown who it is, for brokers that its own configuration allows. It does not end as gRPC's binary metadata
/// does: Envoy puts that into base64 itself where the filter makes a call, and leaves it as it is where a request passes.
pub const CLUSTER_DEFINITION: &str = "sluicegate-cluster-definition";

/// `true`: the session may write. Read where the bridge itself judges what a client sends, at its WebSocket endpoint;
/// elsewhere the gateway's filter does.
pub const WRITE: &str = "sluicegate-write";

/// The WebSocket subprotocol to agree to at the bridge's WebSocket endpoint, where the client offers it; none without.
pub const SUBPROTOCOL: &str = "sluicegate-subprotocol";

/// All of them.
pub const ALL: [&str; 5] = [CLUSTER, CLUSTER_DEFINITION, GATEWAY_SECRET, WRITE, SUBPROTOCOL];
