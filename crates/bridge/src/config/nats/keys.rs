//! The keys of a NATS cluster, as in the reference.

use crate::config::keys::{Key, MIB, Number, Other, keys, number, other};

keys! {
    SERVERS: Other = "servers", other("URLs, with commas", "required"),
        "`nats://HOST:PORT` or `tls://HOST:PORT`; the default port is 4222",
        "";
    USER: Other = "user", other("string", "none"),
        "User name; needs `password`",
        "";
    PASSWORD: Other = "password", other("string or file", "none"),
        "Password; needs `user`",
        "";
    TOKEN: Other = "token", other("string or file", "none"),
        "Authentication token",
        "";
    NKEY: Other = "nkey", other("string or file", "none"),
        "Seed of a user's NKey, which begins with `SU`",
        "";
    CREDS: Other = "creds", other("file", "none"),
        "Contents of a `.creds` file: `{ file = \"…\" }`",
        "";
    DOMAIN: Other = "domain", other("string", "the servers'"),
        "JetStream domain, such as a leaf node's",
        "";
    INBOX: Other = "inbox", other("subject", "`_INBOX`"),
        "Prefix of reply subjects",
        "";
    DISCOVER: Other = "discover", other("boolean", "`true`"),
        "Whether to use servers that a server announces, too",
        "up to 100 addresses";
    TLS_CA: Other = "tls.ca", other("path", "the system's"),
        "PEM CAs to trust",
        "";
    TLS_CERTIFICATE: Other = "tls.certificate", other("path", "none"),
        "PEM client certificate chain; needs `tls.key`",
        "";
    TLS_KEY: Other = "tls.key", other("path", "none"),
        "PEM private key of the certificate",
        "";
    TLS_HANDSHAKE_FIRST: Other = "tls.handshake.first", other("boolean", "`false`"),
        "TLS before the server's first message; its `handshake_first` must agree",
        "";
    REQUEST_TIMEOUT: Number = "request.timeout.ms", number(5_000, 100..=60_000),
        "How long a command waits for a connection and an answer",
        "";
    QUEUE_BYTES: Number = "queue.bytes", number(64 * MIB, 1024..=2048 * MIB),
        "Bytes of records that can be queued for writing",
        "this, if the cluster is written to";
    QUEUE_RECORDS: Number = "queue.records", number(100_000, 1..=10_000_000),
        "Records that can be queued for writing",
        "";
}

pub(super) const DEFAULT_INBOX: &str = "_INBOX";
