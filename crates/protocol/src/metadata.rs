//! The headers in which a gateway tells the bridge about a request. Only gateways can send them.

/// The prefix of these headers. The gateway's filter removes headers with this prefix that a client sent.
pub const PREFIX: &str = "sluicegate-";

/// The cluster of the request, by its name in the bridge's configuration. Absent: `default`.
pub const CLUSTER: &str = "sluicegate-cluster";

/// The secret that authenticates the gateway.
pub const GATEWAY_SECRET: &str = "sluicegate-gateway-secret";

/// A cluster that the route carries, in place of [`CLUSTER`]: a `ClusterDefinition` in base64, padded or not. The
/// bridge accepts it from authenticated gateways, for brokers that its configuration allows. The name does not end in
/// `-bin`: Envoy would encode it a second time, as gRPC's binary metadata.
pub const CLUSTER_DEFINITION: &str = "sluicegate-cluster-definition";

/// `false`: the client cannot read. Absent: it can.
pub const READ: &str = "sluicegate-read";

/// `true`: the client can write. Absent: it cannot.
pub const WRITE: &str = "sluicegate-write";

/// The topics that the client can use, separated by commas: exact names, or a prefix followed by `*`. Absent: all.
pub const TOPICS: &str = "sluicegate-topics";

/// The topics whose tables the client can read, among those that it can read, in the form of [`TOPICS`]. Absent: none.
pub const TABLES: &str = "sluicegate-tables";

/// The groups in which the client can consume the topics that it can read, in the form of [`TOPICS`]. Absent: none.
pub const CONSUME: &str = "sluicegate-consume";

/// `true`: values that the client writes as JSON are encoded with the latest schema of their topic, unless it names
/// another one. Absent: only if it names one.
pub const ENCODE: &str = "sluicegate-encode";

/// `true`: texts of schemas that the client gives are registered. Absent: the registry must know them.
pub const REGISTER_SCHEMAS: &str = "sluicegate-register-schemas";

/// `true`: the client learns of the cluster's brokers, and of the configuration of its topics. Absent: it does not.
pub const DESCRIBE: &str = "sluicegate-describe";

/// The grants of the route to each person: a `Policy` of `sluicegate-rights` as JSON, in at most [`MAX_ACCESS_BYTES`]. It
/// narrows [`READ`], [`WRITE`], [`TOPICS`] and [`CONSUME`]. Absent: the route asks nobody who they are.
pub const ACCESS: &str = "sluicegate-access";

/// The client's identity, which the gateway has verified: the claims of its token, a JSON object in base64, padded or
/// not, in at most [`MAX_IDENTITY_BYTES`]. The bridge accepts it from authenticated gateways if its configuration says
/// so.
pub const IDENTITY: &str = "sluicegate-identity";

/// The client's own token, for the bridge to verify, in at most [`MAX_TOKEN_BYTES`].
pub const TOKEN: &str = "sluicegate-token";

/// The client's address without the port, the key of its share of each limit. Absent: the peer's address.
pub const CLIENT: &str = "sluicegate-client";

/// Makes the request a plain HTTP request: an `HttpRoute` in base64, padded or not.
pub const HTTP: &str = "sluicegate-http";

/// The subprotocol that the gateway selected: it decides the codec of a session's stream
/// ([`Codec::of`](crate::codec::Codec::of)). The bridge's own WebSocket endpoint selects it if the client offers it.
/// Absent: none.
pub const SUBPROTOCOL: &str = "sluicegate-subprotocol";

/// `true`: the gateway pads its writes on the session's stream to [`grpc::MIN_WRITE`](crate::grpc::MIN_WRITE), so the
/// bridge can hold it back by not reading.
pub const PADDED: &str = "sluicegate-padded";

/// The path of the gateway's route, for metrics. It is the operator's, never the client's. Absent: not known.
pub const ROUTE: &str = "x-sluicegate-route";

/// The group of a request for its consumers, as the path has it, for the gateway alone: by its hash, all requests of a group
/// can reach one bridge. Absent: it is for none.
pub const GROUP: &str = "x-sluicegate-group";

/// The largest message that the gateway accepts from the client, in bytes. Absent: the bridge's own limit applies.
pub const MAX_MESSAGE_BYTES: &str = "x-sluicegate-max-message-bytes";

/// All headers that a gateway can send. Those outside [`PREFIX`] restrict nothing, so bridges that do not know them can
/// ignore them.
pub const ALL: [&str; 21] = [
    CLUSTER,
    CLUSTER_DEFINITION,
    GATEWAY_SECRET,
    READ,
    WRITE,
    TOPICS,
    TABLES,
    CONSUME,
    ENCODE,
    REGISTER_SCHEMAS,
    DESCRIBE,
    ACCESS,
    IDENTITY,
    TOKEN,
    CLIENT,
    HTTP,
    SUBPROTOCOL,
    PADDED,
    ROUTE,
    GROUP,
    MAX_MESSAGE_BYTES,
];

/// Whether only gateways can send this header. `name` is in lower case.
pub fn is_for_gateways(name: &[u8]) -> bool {
    name.starts_with(PREFIX.as_bytes()) || ALL.iter().any(|own| own.as_bytes() == name)
}

/// Marks every answer of the bridge to a plain HTTP request. The filter removes it. An answer without it came from a
/// proxy in between.
pub const ANSWERED: &str = "sluicegate-answered";

/// The longest value of [`ACCESS`] in bytes: gateways on nginx accept no longer header line by default.
pub const MAX_ACCESS_BYTES: usize = 8 * 1024;

/// The longest value of [`IDENTITY`] in bytes.
pub const MAX_IDENTITY_BYTES: usize = 4 * 1024;

/// The longest value of [`TOKEN`] in bytes.
pub const MAX_TOKEN_BYTES: usize = 8 * 1024;
