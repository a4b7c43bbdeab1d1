//! Header names under the one prefix that only a gateway may use towards the bridge.

/// Every header of this prefix that a client sent is removed by the gateway's filter.
pub const PREFIX: &str = "sluicegate-";

/// Name of the cluster, in the bridge's configuration, that the session reads from.
pub const CLUSTER: &str = "sluicegate-cluster";

/// The secret that proves to the bridge that a gateway is asking.
pub const GATEWAY_SECRET: &str = "sluicegate-gateway-secret";
