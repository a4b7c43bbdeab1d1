//! A Kafka with a listener for each security protocol, and some with invalid certificates.

use std::path::Path;
use std::sync::Arc;

use tokio::sync::OnceCell;

use super::{HOST, Kafka, Listener, Setup};
use crate::Error;
use crate::certificates::{Authority, Certificate};
use crate::folder::Folder;
use crate::secrets::secret;
use crate::tokens::Signer;

/// One node. Unauthenticated clients, such as the tests at the plain listener, can do everything. [`READER`] can read
/// every topic, [`WRITER`] can write to topics with the prefix [`WRITABLE`], and [`OUTSIDER`] can do nothing.
pub struct Secured {
    /// With the [`listener`]s.
    pub kafka: Kafka,
    /// The authority of its certificates and its clients'.
    pub authority: Authority,
    /// The client certificate of [`READER`] for [`listener::MTLS`].
    pub reader: Certificate,
    /// The issuer whose tokens [`listener::OIDC`] accepts.
    pub signer: Arc<Signer>,
    _folder: Folder,
}

/// The names of the listeners, all at `localhost`.
pub mod listener {
    /// TLS, for anyone.
    pub const SSL: &str = "SSL";
    /// TLS, for clients with a certificate.
    pub const MTLS: &str = "MTLS";
    /// SASL without TLS: PLAIN, SCRAM-SHA-256 and SCRAM-SHA-512.
    pub const SASL: &str = "SASL";
    /// The same with TLS.
    pub const SASL_SSL: &str = "SASLSSL";
    /// OAUTHBEARER without TLS, for unsigned tokens. A session ends with its token.
    pub const UNSECURED: &str = "UNSECURED";
    /// OAUTHBEARER with TLS, for tokens of [`super::Secured::signer`]. A session ends with its token.
    pub const OIDC: &str = "OIDC";
    /// TLS with a certificate for another host.
    pub const MISNAMED: &str = "MISNAMED";
    /// TLS with a certificate that another authority signed.
    pub const FOREIGN: &str = "FOREIGN";
}

impl Secured {
    /// The cluster that all tests of this process share. The first caller starts it; it ends with the process.
    pub async fn shared() -> Result<&'static Self, Error> {
        static SHARED: OnceCell<Secured> = OnceCell::const_new();
        SHARED.get_or_try_init(async || Self::start(Vec::new()).await).await
    }

    /// Starts a new cluster with further JVM options.
    pub async fn start(java: Vec<String>) -> Result<Self, Error> {
        let folder = Folder::new("secured")?;
        let (authority, other) = (Authority::new("tests")?, Authority::new("others")?);
        let reader = authority.client(READER)?;
        let signer = Arc::new(Signer::new()?);
        folder.write("authority.pem", &authority.pem())?;
        folder.write("keys.json", &signer.key_set())?;
        for (name, Certificate { certificate, key }) in [
            ("good", authority.server(HOST)?),
            ("misnamed", authority.server("kafka.example")?),
            ("foreign", other.server(HOST)?),
        ] {
            folder.write(&format!("{name}.pem"), &format!("{key}{certificate}"))?;
        }
        let own = format!("-Dorg.apache.kafka.sasl.oauthbearer.allowed.urls={}", key_set(folder.path()));
        let setup = Setup {
            listeners: &LISTENERS,
            properties: properties(folder.path()),
            java: [vec![own], java].concat(),
            format: scram(),
            ..Setup::default()
        };
        let kafka = Kafka::start_with(setup).await?;
        allow_reader_and_writer(&kafka).await?;
        Ok(Self { kafka, authority, reader, signer, _folder: folder })
    }
}

pub fn password(user: &str) -> String {
    secret(&format!("password-of-{user}"))
}

/// The listeners' part of `server.properties`.
fn properties(folder: &Path) -> String {
    let folder_of = folder.display();
    let keys = key_set(folder);
    let plain =
        [READER, WRITER, OUTSIDER].map(|user| format!("user_{user}=\"{}\"", password(user))).join(" ");
    let mut text = format!(
        "
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:ANONYMOUS
ssl.keystore.type=PEM
ssl.keystore.location={folder_of}/good.pem
ssl.truststore.type=PEM
ssl.truststore.location={folder_of}/authority.pem
listener.name.mtls.ssl.client.auth=required
listener.name.misnamed.ssl.keystore.type=PEM
listener.name.misnamed.ssl.keystore.location={folder_of}/misnamed.pem
listener.name.foreign.ssl.keystore.type=PEM
listener.name.foreign.ssl.keystore.location={folder_of}/foreign.pem
listener.name.unsecured.sasl.enabled.mechanisms=OAUTHBEARER
listener.name.unsecured.oauthbearer.sasl.jaas.config={BEARER} required;
listener.name.unsecured.connections.max.reauth.ms={LONG_MS}
listener.name.oidc.sasl.enabled.mechanisms=OAUTHBEARER
listener.name.oidc.oauthbearer.sasl.jaas.config={BEARER} required;
listener.name.oidc.oauthbearer.sasl.server.callback.handler.class={VALIDATOR}
listener.name.oidc.oauthbearer.sasl.oauthbearer.jwks.endpoint.url={keys}
listener.name.oidc.oauthbearer.sasl.oauthbearer.allow.unverified.audience=true
listener.name.oidc.oauthbearer.sasl.oauthbearer.allow.unverified.issuer=true
listener.name.oidc.connections.max.reauth.ms={LONG_MS}
"
    );
    for listener in ["sasl", "saslssl"] {
        text.push_str(&format!(
            "listener.name.{listener}.sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512
listener.name.{listener}.plain.sasl.jaas.config={PLAIN} required {plain};
listener.name.{listener}.scram-sha-256.sasl.jaas.config={SCRAM} required;
listener.name.{listener}.scram-sha-512.sasl.jaas.config={SCRAM} required;
"
        ));
    }
    text
}

fn key_set(folder: &Path) -> String {
    format!("file://{}", folder.join("keys.json").display())
}

/// The SCRAM users, for Kafka's formatter.
fn scram() -> Vec<String> {
    let user = |mechanism, user| format!("{mechanism}=[name={user},password={}]", password(user));
    let users = |mechanism| [READER, WRITER, OUTSIDER].map(|name| user(mechanism, name));
    let users = ["SCRAM-SHA-256", "SCRAM-SHA-512"].map(users).concat();
    users.into_iter().flat_map(|user| ["--add-scram".to_owned(), user]).collect()
}

/// Grants [`READER`] its rights, by password, token and certificate, and [`WRITER`] its own, by password: also to know settings.
async fn allow_reader_and_writer(kafka: &Kafka) -> Result<(), Error> {
    let reads = format!(
        "--topic * --operation Read --allow-principal User:{READER} --allow-principal User:CN={READER}"
    );
    let settings = format!("--operation DescribeConfigs --allow-principal User:{WRITER}");
    let writes = format!("--topic {WRITABLE} --resource-pattern-type prefixed --operation Write {settings}");
    for rights in [reads, writes, format!("--cluster {settings}")] {
        let rights: Vec<&str> = ["--add"].into_iter().chain(rights.split(' ')).collect();
        kafka.run("org.apache.kafka.tools.AclCommand", &rights).await?;
    }
    Ok(())
}

pub const READER: &str = "reader";
/// A user that can write to some topics.
pub const WRITER: &str = "writer";
/// The name prefix of these topics.
pub const WRITABLE: &str = "writable";
pub const OUTSIDER: &str = "outsider";

static LISTENERS: [Listener; 8] = [
    (listener::SSL, "SSL"),
    (listener::MTLS, "SSL"),
    (listener::SASL, "SASL_PLAINTEXT"),
    (listener::SASL_SSL, "SASL_SSL"),
    (listener::UNSECURED, "SASL_PLAINTEXT"),
    (listener::OIDC, "SASL_SSL"),
    (listener::MISNAMED, "SSL"),
    (listener::FOREIGN, "SSL"),
];
/// A session ends with its token only if the listener limits the lifetime of all sessions.
const LONG_MS: u32 = 3_600_000;
const PLAIN: &str = "org.apache.kafka.common.security.plain.PlainLoginModule";
const SCRAM: &str = "org.apache.kafka.common.security.scram.ScramLoginModule";
const BEARER: &str = "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule";
const VALIDATOR: &str = "org.apache.kafka.common.security.oauthbearer.OAuthBearerValidatorCallbackHandler";
