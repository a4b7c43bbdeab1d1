//! Properties of TLS and SASL: what is taken, what is refused, and that no secret is ever repeated.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};

use super::*;
use crate::config::Config;
use crate::sasl::{Hash, TokenSource};

/// A P-256 key, made by `openssl pkcs8 -topk8 -v2 aes-256-cbc -v2prf hmacWithSHA256`; the password is `pencil`.
const ENCRYPTED_KEY: &str = "\
-----BEGIN ENCRYPTED PRIVATE KEY-----
MIHsMFcGCSqGSIb3DQEFDTBKMCkGCSqGSIb3DQEFDDAcBAic/EHGgtQx/AICCAAw
DAYIKoZIhvcNAgkFADAdBglghkgBZQMEASoEEKhIsZ9xe51y5fodzcnyj10EgZCs
8q1KTs99yQLmaGPIWy8G03KjEZe5Mdo6H98sR+udzdx23EKniDFnEjhemKPpLZtL
pP9LpAmTNOACx7hJLFOr4pPTqKyMZtL4vMtHFXMbg1Ta0gh7T/JpH6U0Ad2pFg1t
u3+l9BwbIAdVd6rzkmfsVEyijwO6+eAbUvzCdfjxshTc0DtOCgv8aUzFNdDuRLw=
-----END ENCRYPTED PRIVATE KEY-----
";

type Pairs<'a> = &'a [(&'a str, &'a str)];

/// The configuration of `base` and `more`.
fn read(base: Pairs<'_>, more: Pairs<'_>) -> Result<Config, Vec<String>> {
    crate::config::tests::read(&[&[("bootstrap.servers", "a:1")], base, more].concat())
}

/// Refused with these problems, in these words.
#[track_caller]
fn refused(base: Pairs<'_>, more: Pairs<'_>, want: &[&str]) {
    assert_eq!(read(base, more).expect_err("a configuration to refuse"), want);
}

/// Refused with one problem, which contains these words.
#[track_caller]
fn refused_with(base: Pairs<'_>, more: Pairs<'_>, want: &str) {
    let problems = read(base, more).expect_err("a configuration to refuse");
    assert!(problems.len() == 1 && problems[0].contains(want), "{problems:?}, expected: {want}");
}

/// A certificate that may sign itself, and its key.
fn certificate() -> (String, KeyPair) {
    let key = KeyPair::generate().expect("a key");
    let mut params = CertificateParams::new(vec!["localhost".to_owned()]).expect("a name");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    (params.self_signed(&key).expect("a certificate").pem(), key)
}

/// A new directory that is removed with the value.
pub(crate) struct Directory(PathBuf);

impl Directory {
    pub(crate) fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("sluicegate-reader-{}-{name}", std::process::id()));
        fs::create_dir_all(&path).expect("a directory");
        Self(path)
    }

    pub(crate) fn write(&self, name: &str, contents: &str) -> String {
        let path = self.0.join(name);
        fs::write(&path, contents).expect("a file");
        path.display().to_string()
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

const SSL: (&str, &str) = ("security.protocol", "ssl");
const SASL_PLAINTEXT: (&str, &str) = ("security.protocol", "SASL_plaintext");
const PLAIN: [(&str, &str); 4] = [
    SASL_PLAINTEXT,
    ("sasl.mechanism", "PLAIN"),
    ("sasl.username", "admin"),
    ("sasl.password", "admin-secret"),
];
const BEARER: [(&str, &str); 2] = [SASL_PLAINTEXT, ("sasl.mechanisms", "OAUTHBEARER")];
const URL: &str = "sasl.oauthbearer.token.endpoint.url";
/// A client of an endpoint.
const OIDC: [(&str, &str); 6] = [
    BEARER[0],
    BEARER[1],
    ("sasl.oauthbearer.method", "oidc"),
    ("sasl.oauthbearer.client.id", "me"),
    ("sasl.oauthbearer.client.credentials.client.secret", "client-secret"),
    (URL, "http://localhost:8080/token?x=url-secret"),
];

#[test]
fn security_protocol_ignores_case() {
    let (ca, _) = certificate();
    let ca = ("ssl.ca.pem", ca.as_str());
    for (protocol, more, tls) in [("plaintext", &[][..], false), ("SSL", &[ca], true)] {
        let security = read(&[("security.protocol", protocol)], more).expect("a configuration").security;
        assert_eq!((security.tls.is_some(), security.sasl.is_some()), (tls, false), "{protocol}");
    }
    let security = read(&PLAIN, &[]).expect("a configuration").security;
    assert!(security.tls.is_none() && matches!(security.sasl, Some(Sasl::Plain(_))));
    refused(
        &[("security.protocol", "tls"), ("sasl.password", "x")],
        &[],
        &["`security.protocol`: expected `plaintext`, `ssl`, `sasl_plaintext` or `sasl_ssl`, got `tls`"],
    );
}

#[test]
fn security_properties_without_effect_are_rejected() {
    let check = |base, key, with: &str, expected: &str| {
        refused(
            base,
            &[(key, "HTTPS")],
            &[&format!("`{key}`: has no effect with {with}: expected {expected}")],
        );
    };
    for key in TLS {
        check(&[], key, "`security.protocol` plaintext", "`ssl` or `sasl_ssl`");
        check(&PLAIN, key, "`security.protocol` sasl_plaintext", "`ssl` or `sasl_ssl`");
    }
    for key in SASL.concat() {
        check(&[], key, "`security.protocol` plaintext", "`sasl_plaintext` or `sasl_ssl`");
    }
    let (ca, _) = certificate();
    let unverified = [SSL, ("ssl.ca.pem", &*ca), ("enable.ssl.certificate.verification", "false")];
    read(&unverified, &[]).expect("roots that are not used");
    let names = "ssl.endpoint.identification.algorithm";
    read(&unverified, &[(names, "none")]).expect("no check");
    for key in [names, "ssl.crl.location"] {
        check(&unverified, key, "`enable.ssl.certificate.verification` false", "`true`");
    }
}

#[test]
fn unsupported_properties_are_rejected_with_an_alternative() {
    for (key, want) in [
        ("ssl.keystore.location", "openssl pkcs12"),
        ("ssl.truststore.location", "keytool -importkeystore"),
        ("ssl.cipher.suites", "remove it"),
        ("ssl.curves.list", "remove it"),
        ("ssl.engine.location", "remove it"),
        ("ssl.providers", "remove it"),
        ("ssl.ca.certificate.stores", "`ssl.ca.*`"),
        ("ssl_key", "`ssl.key.*`"),
        ("sasl.kerberos.keytab", "SCRAM-SHA-512"),
        ("sasl.oauthbearer.config", "client credentials"),
        ("sasl.oauthbearer.assertion.file", "client credentials"),
        ("enable.sasl.oauthbearer.unsecure.jwt", "client credentials"),
        ("security.providers", "`security.protocol`"),
        ("sasl.jaas.config", "use its values as `sasl.mechanism`, `sasl.username` and `sasl.password`"),
    ] {
        for base in [&[][..], &PLAIN] {
            refused_with(base, &[(key, "hunter2")], &format!("`{key}`: is not supported: "));
            refused_with(base, &[(key, "hunter2")], want);
        }
    }
}

#[test]
fn mechanism_requires_its_own_properties_only() {
    let (mechanism, secret) = ("sasl.mechanism", "sasl.oauthbearer.client.secret");
    let expected = "is required: expected `PLAIN`, `SCRAM-SHA-256`, `SCRAM-SHA-512` or `OAUTHBEARER`";
    refused_with(&[SASL_PLAINTEXT], &[], expected);
    let scram = [SASL_PLAINTEXT, (mechanism, "SCRAM-SHA-256"), ("sasl.username", "u")];
    refused_with(&scram, &[], "`sasl.password`: is required: expected the user's password");
    for (value, want) in [
        ("GSSAPI", "`GSSAPI` is not supported"),
        ("MD5", ", got `MD5`"),
        // As librdkafka, which compares it so.
        ("plain", "`OAUTHBEARER`, got `plain`"),
        ("scram-sha-512", "`OAUTHBEARER`, got `scram-sha-512`"),
        ("OAuthBearer", "`OAUTHBEARER`, got `OAuthBearer`"),
    ] {
        refused_with(&[SASL_PLAINTEXT], &[(mechanism, value)], want);
    }
    read(&PLAIN, &[("sasl.mechanisms", "PLAIN")]).expect("equal values");
    let other = ("sasl.mechanisms", "SCRAM-SHA-256");
    refused_with(&PLAIN, &[other], "`sasl.mechanisms`: is an alias of `sasl.mechanism`");
    let without_effect =
        format!("`{secret}`: has no effect with `sasl.mechanism` PLAIN: expected OAUTHBEARER");
    refused_with(&PLAIN, &[(secret, "hunter2")], &without_effect);
    refused_with(&PLAIN[..3], &[("sasl.password", "a\0b")], "contains a NUL character");
    let without_effect = "`sasl.password`: has no effect with `sasl.mechanism` OAUTHBEARER";
    refused_with(&OIDC, &[("sasl.password", "hunter2")], without_effect);
    for (name, hash) in [("SCRAM-SHA-256", Hash::Sha256), ("SCRAM-SHA-512", Hash::Sha512)] {
        let config = read(&[SASL_PLAINTEXT, (mechanism, name)], &PLAIN[2..]).expect("a configuration");
        assert!(matches!(config.security.sasl, Some(Sasl::Scram(got, _)) if got == hash));
    }
    // Spaces around a password are kept.
    let user = [("sasl.username", " user "), ("sasl.password", " pencil ")];
    let config = read(&[("security.protocol", " sasl_plaintext "), PLAIN[1]], &user);
    let Some(Sasl::Plain(who)) = config.expect("a configuration").security.sasl else { panic!("no PLAIN") };
    assert_eq!((who.username.as_str(), who.password.expose()), ("user", " pencil "));
}

#[test]
fn token_comes_from_a_file() {
    let config = read(&BEARER, &[(URL, "file:///run/token")]).expect("a configuration");
    let path = Path::new("/run/token");
    assert!(matches!(config.security.sasl, Some(Sasl::OAuthBearer(TokenSource::File(of), _)) if of == path));
    let without_effect = "has no effect with `sasl.oauthbearer.method` default: expected `oidc`";
    for (more, want) in [
        (&[][..], &*format!("`{URL}`: is required: expected `file:///path`")),
        (&[(URL, "https://idp/token")], "expected `file:///path`"),
        (&[(URL, "file://run/token")], "expected `file:///path`"),
        (&[("sasl.oauthbearer.method", "x")], "expected `default` or `oidc`, got `x`"),
        (&[(URL, "file:///t"), ("sasl.oauthbearer.client.secret", "hunter2")], without_effect),
    ] {
        refused_with(&BEARER, more, want);
    }
}

#[test]
fn token_comes_from_an_endpoint() {
    let config = read(&OIDC, &[]).expect("a configuration");
    assert!(matches!(config.security.sasl, Some(Sasl::OAuthBearer(TokenSource::Oidc(_), _))));
    refused(
        &OIDC[..3],
        &[],
        &[
            "`sasl.oauthbearer.token.endpoint.url`: is required: expected an `https://host[:port]/path` URL without \
             user name",
            "`sasl.oauthbearer.client.id`: is required: expected the client's identifier",
            "`sasl.oauthbearer.client.secret`: is required: expected the client's secret",
        ],
    );
    for wrong in ["ftp://idp/", "idp/token", "https://user:hunter2@idp/token", "file:///t"] {
        refused_with(&OIDC[..5], &[(URL, wrong)], "without user name");
    }
    let kind = "sasl.oauthbearer.metadata.authentication.type";
    read(&OIDC, &[(kind, "none")]).expect("the default");
    let grant = "sasl.oauthbearer.grant.type";
    let alias = "is an alias of `sasl.oauthbearer.client.secret`";
    for (key, value, want) in [
        (kind, "azure_imds", "expected `none`, got `azure_imds`"),
        (grant, "urn:ietf:params:oauth:grant-type:jwt-bearer", "expected `client_credentials`"),
        ("https.ca.pem", "x", "has no effect with an `http:` endpoint"),
        ("sasl.oauthbearer.client.secret", "another-secret", alias),
    ] {
        refused_with(&OIDC, &[(key, value)], want);
    }
}

#[test]
fn plain_http_endpoint_must_be_local() {
    for host in ["localhost", "LOCALHOST:1", "127.0.0.1:8080", "127.1.2.3", "[::1]:8080"] {
        read(&OIDC[..5], &[(URL, &format!("http://{host}/token"))]).expect(host);
    }
    for host in ["idp", "localhost.example", "128.0.0.1", "10.0.0.1:8080", "[::2]", "0.0.0.0"] {
        let want = "would send the client's secret unencrypted: expected an `https:` URL";
        refused_with(&OIDC[..5], &[(URL, &format!("http://{host}/token"))], want);
    }
}

#[test]
fn extensions_are_names_and_values() {
    let key = "sasl.oauthbearer.extensions";
    let config = read(&OIDC, &[(key, "traceId=a=b, cluster=lkc 1")]).expect("a configuration");
    let Some(Sasl::OAuthBearer(_, extensions)) = config.security.sasl else { panic!("no OAUTHBEARER") };
    let extensions: Vec<_> = extensions.iter().map(|e| (e.name.as_str(), e.value.as_str())).collect();
    assert_eq!(extensions, [("traceId", "a=b"), ("cluster", "lkc 1")]);
    for wrong in ["x", "=x", "a1=x", "auth=x", "a=\u{1}", "a=ü"] {
        refused_with(&OIDC, &[(key, wrong)], "expected `name=value,…`");
    }
}

#[test]
fn certificates_come_from_a_value_file_or_directory() {
    let (ca, key) = certificate();
    let directory = Directory::new("roots");
    let file = directory.write("ca.pem", &ca);
    let readme = directory.write("README", "no certificate");
    let place = directory.0.display().to_string();
    for roots in [("ssl.ca.pem", ca.as_str()), ("ssl.ca.location", &file), ("ssl.ca.location", &place)] {
        read(&[SSL, roots], &[]).expect("roots");
    }
    let private = key.serialize_pem();
    let trust = [SSL, ("ssl.ca.pem", &*ca)];
    let (chain, key) = (("ssl.certificate.location", &*file), ("ssl.key.pem", &*private));
    read(&trust, &[chain, key]).expect("an identity");

    let path_of_a_certificate = "`ssl.ca.pem`: no certificate in the value: expected PEM, \
                                 `-----BEGIN CERTIFICATE-----`; the path of a file goes in `ssl.ca.location`";
    refused_with(&[SSL], &[("ssl.ca.pem", "ca.pem")], path_of_a_certificate);
    let broken = ("ssl.ca.pem", "-----BEGIN CERTIFICATE-----\nhunter2");
    refused_with(&[SSL], &[broken], "broken PEM in the value");
    refused_with(&[SSL], &[("ssl.ca.location", &readme)], "no certificate in `");
    let (other, _) = certificate();
    let path_of_a_key = "no private key in the value: expected PEM, `-----BEGIN PRIVATE KEY-----`; the path of a \
                         file goes in `ssl.key.location`";
    for (more, want) in [
        (&[("ssl.ca.location", &*file)][..], "not both"),
        (&[chain, ("ssl.key.pem", "key.pem")], path_of_a_key),
        (&[chain], "`ssl.key.location`: is required with a certificate"),
        (&[key], "`ssl.certificate.location`: is required with a key"),
        (&[("ssl.certificate.pem", &other), key], "`ssl.key.location`: is not the key of the certificate"),
        (&[("ssl.crl.location", &file)], "no list of revoked certificates in"),
        (&[("ssl.endpoint.identification.algorithm", "x")], "expected `https` or `none`, got `x`"),
        (
            &[("ssl.key.password", "hunter2")],
            "`ssl.key.password`: has no effect without a key: expected `ssl.key.location` or `ssl.key.pem`",
        ),
    ] {
        refused_with(&trust, more, want);
    }
}

#[test]
fn unusable_file_of_a_directory_is_named() {
    let (ca, _) = certificate();
    let directory = Directory::new("unusable");
    directory.write("a.pem", &ca);
    let b = directory.write("b.pem", "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----");
    let c = directory.write("c.pem", "-----BEGIN CERTIFICATE-----\nhunter2");
    let roots = [SSL, ("ssl.ca.location", directory.0.to_str().expect("UTF-8"))];
    let unusable = format!("`ssl.ca.location`: cannot use a certificate in `{b}`: expected X.509, version 3");
    refused(&roots, &[], &[&unusable]);
    fs::remove_file(&b).expect("removed");
    refused(&roots, &[], &[&format!("`ssl.ca.location`: broken PEM in `{c}`")]);
    fs::remove_file(&c).expect("removed");
    read(&roots, &[]).expect("roots");
}

#[test]
fn pem_given_as_a_path_is_not_repeated() {
    let (ca, key) = certificate();
    let private = key.serialize_pem();
    let line = private.replace('\n', " ");
    let chain = [SSL, ("ssl.ca.pem", &ca), ("ssl.certificate.pem", &ca)];
    for text in [&private, &line, "hunter2\nhunter2"] {
        let path = "`ssl.key.location`: expected a path; PEM itself goes in `ssl.key.pem`";
        refused(&chain, &[("ssl.key.location", text)], &[path]);
        refused(&chain[..2], &[("ssl.crl.location", text)], &["`ssl.crl.location`: expected a path"]);
    }
}

#[test]
fn encrypted_key_requires_its_password() {
    let unread = BTreeMap::from([("ssl.key.pem", ENCRYPTED_KEY)]);
    let mut encrypted = Properties { unread, problems: Vec::new() };
    let encrypted = encrypted.pem("ssl.key.location", "ssl.key.pem", false).expect("PEM");
    let decrypted = encrypted.private_key(Some("pencil")).expect("a key");
    let key = KeyPair::from_pem(&pem("PRIVATE KEY", decrypted.secret_der())).expect("a key");
    let params = CertificateParams::new(vec!["client".to_owned()]).expect("a name");
    let certificate = params.self_signed(&key).expect("a certificate").pem();
    let (ca, _) = self::certificate();
    let chain = [SSL, ("ssl.ca.pem", &ca), ("ssl.certificate.pem", &certificate)];
    let key = ("ssl.key.pem", ENCRYPTED_KEY);
    read(&chain, &[key, ("ssl.key.password", "pencil")]).expect("an identity");
    refused_with(&chain, &[key], "is encrypted: expected `ssl.key.password`");
    refused_with(&chain, &[key, ("ssl.key.password", "hunter2")], "check `ssl.key.password`");
    let legacy = "-----BEGIN EC PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00\n\nAAAA\n\
                  -----END EC PRIVATE KEY-----";
    refused_with(&chain, &[("ssl.key.pem", legacy)], "convert it with `openssl pkcs8 -topk8");
}

/// PEM of these bytes.
pub(crate) fn pem(label: &str, der: &[u8]) -> String {
    let body = BASE64.encode(der);
    format!("-----BEGIN {label}-----\n{body}\n-----END {label}-----\n")
}

#[test]
fn debug_output_has_no_secret() {
    let (ca, key) = certificate();
    let private = key.serialize_pem();
    let keyed = [
        ("security.protocol", "sasl_ssl"),
        ("ssl.ca.pem", &ca),
        ("ssl.certificate.pem", &ca),
        ("ssl.key.pem", &private),
        ("ssl.key.password", "key-secret"),
    ];
    for sasl in [&PLAIN[1..], &OIDC[1..]] {
        let printed = format!("{:#?}", read(&keyed, sasl).expect("a configuration"));
        for secret in ["admin-secret", "client-secret", "url-secret", "key-secret", "PRIVATE", "BEGIN"] {
            assert!(!printed.contains(secret), "{secret} in {printed}");
        }
    }
    let wrong = [
        ("security.protocol", "sasl_ssl"),
        ("ssl.key.password", "hunter2"),
        ("ssl.key.pem", "hunter2"),
        ("ssl.certificate.pem", "hunter2"),
        ("ssl.ca.pem", "hunter2"),
        ("sasl.mechanism", "PLAIN"),
        ("sasl.password", "hunter2\0"),
        ("sasl.username", "u"),
        ("sasl.oauthbearer.client.secret", "hunter2"),
        ("ssl.keystore.password", "hunter2"),
    ];
    let problems = read(&wrong, &[]).expect_err("problems");
    assert_eq!(problems.len(), 6, "{problems:?}");
    assert!(!format!("{problems:?}").contains("hunter2"), "{problems:?}");
}
