//! Header names under the one prefix that only a gateway can use towards the bridge.

/// Every header of this prefix that a client sent is removed by the gateway's filter.
pub const PREFIX: &str = "sluicegate-";

/// Name of the cluster, in the bridge's configuration, that the request is for. Default: `default`.
pub const CLUSTER: &str = "sluicegate-cluster";

/// The secret that proves to the bridge that a gateway is asking.
pub const GATEWAY_SECRET: &str = "sluicegate-gateway-secret";

/// In place of [`CLUSTER`]: the cluster itself, a `ClusterDefinition` in base64, padded or not. The bridge accepts it from an
/// authenticated gateway, for brokers that its own configuration allows. The name does not end in `-bin`, as gRPC's binary
/// metadata does, whose values Envoy encodes a second time.
pub const CLUSTER_DEFINITION: &str = "sluicegate-cluster-definition";

/// `false`: the client cannot read. Absent: it can.
pub const READ: &str = "sluicegate-read";

/// `true`: the client can write. Absent: it cannot.
pub const WRITE: &str = "sluicegate-write";

/// The topics that the client can use, separated by commas: exact names, or a prefix followed by `*`. Absent: all.
pub const TOPICS: &str = "sluicegate-topics";

/// The client's address without its port: the source that its share of a limit is counted for. Absent: the peer's address.
pub const CLIENT: &str = "sluicegate-client";

/// Makes the request a plain HTTP request: an `HttpRoute` in base64, padded or not.
pub const HTTP: &str = "sluicegate-http";

/// The WebSocket subprotocol to agree to at the bridge's WebSocket endpoint, if the client offers it. Absent: none.
pub const SUBPROTOCOL: &str = "sluicegate-subprotocol";

/// `true`: the gateway pads what it writes on the session's stream to [`grpc::MIN_WRITE`](crate::grpc::MIN_WRITE), so the
/// bridge can hold it back by not reading.
pub const PADDED: &str = "sluicegate-padded";

/// All that a gateway can send.
pub const ALL: [&str; 10] =
    [CLUSTER, CLUSTER_DEFINITION, GATEWAY_SECRET, READ, WRITE, TOPICS, CLIENT, HTTP, SUBPROTOCOL, PADDED];

/// Marks every answer of the bridge to a plain HTTP request. The filter removes it; an answer without it was made on the way.
pub const ANSWERED: &str = "sluicegate-answered";

/// The most bytes that [`TOPICS`] can have: gateways on nginx accept no longer header line by default.
pub const MAX_TOPICS_BYTES: usize = 8 * 1024;
