//! Credentials, TLS and the files of both.

use nkeys::KeyPair;

use super::*;

#[test]
fn credentials_are_of_one_kind() {
    let credentials = cluster("user = \"u\"\npassword = \" p \"").credentials;
    assert!(
        matches!(credentials, Credentials::Password { user, password } if user == "u" && password == " p ")
    );
    assert!(matches!(cluster("token = \"t\"").credentials, Credentials::Token(token) if token == "t"));
    assert!(
        matches!(cluster(&format!("nkey = \" {SEED}\"")).credentials, Credentials::NKey(seed) if seed == SEED)
    );
    let text = creds("a.b.c", SEED);
    assert!(matches!(cluster(&format!("creds = {text:?}")).credentials, Credentials::Creds(_)));

    let all = format!("user = \"u\"\npassword = \"p\"\ntoken = \"t\"\nnkey = {SEED:?}\ncreds = {text:?}\n");
    let beside = "conflicts with `user`: set only one kind of credentials";
    let beside_user = ["token", "nkey", "creds"].map(|name| format!("{name}: {beside}"));
    refused(&all, &beside_user.each_ref().map(String::as_str));
}

#[test]
fn nkeys_and_creds_are_checked_at_start() {
    let nkey = "nkey: expected the seed of a user's NKey, which begins with SU";
    let (truncated, account) = (&SEED[1..], KeyPair::new_account());
    for seed in [
        "hidden",
        truncated,
        &account.seed().unwrap(),
        "UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4",
    ] {
        refused(&format!("nkey = {seed:?}"), &[nkey]);
    }
    let expected = "creds: expected the contents of a .creds file: set { file = \"…\" } to its path";
    for text in ["/etc/nats.creds", SEED, &creds("a.b.c", truncated), &creds("", SEED)] {
        refused(&format!("creds = {text:?}"), &[expected]);
    }
    let files = Files::new();
    let path = files.write("bad.creds", "hidden");
    let (_, problem) = expected.split_once(": ").unwrap();
    refused(&format!("creds = {{ file = {path:?} }}"), &[&format!("creds: {}: {problem}", path.display())]);
    // As nsc writes them, with other line ends, and without the last one.
    let text = creds("a.b.c", SEED);
    for text in [format!("{text}\n****\n"), text.replace('\n', "\r\n"), text.trim_end().to_owned()] {
        let path = files.write("good.creds", &text);
        cluster(&format!("creds = {{ file = {path:?} }}"));
    }
}

#[test]
fn errors_and_debug_show_no_secret_of_nats() {
    let secrets = ["password", "token", "nkey", "creds", "pasword", "seed", "sasl.password"];
    check_hidden(NATS, "SLUICEGATE_CLUSTERS__N__", &secrets);
    hides(&NATS.replace("nats://", &format!("nats://{HIDDEN}@")), &[]);
    let usable = [format!("user = \"u\"\npassword = {HIDDEN:?}"), format!("token = {HIDDEN:?}")];
    for lines in usable {
        hides(&format!("{NATS}{lines}"), &[]);
        cluster(&lines);
    }
    let seeds = [format!("nkey = {SEED:?}"), format!("creds = {:?}", creds("a.b.c", SEED))];
    for lines in seeds {
        let shown = format!("{:?}", cluster(&lines));
        assert!(!shown.contains(SEED) && !shown.contains("a.b.c"), "{shown}");
    }
}

#[test]
fn any_tls_key_asks_for_tls() {
    let files = Files::new();
    let [ca, certificate, key] = ["ca.pem", "one.pem", "one.key"].map(|name| files.path(name));
    let identity = format!("tls.certificate = {certificate:?}\ntls.key = {key:?}\n");
    for lines in [format!("tls.ca = {ca:?}\n"), format!("tls.ca = {ca:?}\n{identity}"), identity] {
        assert!(cluster(&lines).tls.is_some_and(|tls| !tls.handshake_first), "{lines}");
    }
    assert!(cluster("tls.handshake.first = true").tls.is_some_and(|tls| tls.handshake_first));
    assert!(cluster("tls.handshake.first = false").tls.is_none());
}

#[test]
fn tls_files_are_checked_at_start() {
    let files = Files::new();
    let [ca, certificate, key] = ["ca.pem", "one.pem", "one.key"].map(|name| files.path(name));
    let (other, empty) = (files.path("other.key"), files.write("empty.pem", "none"));
    refused(&format!("tls.certificate = {certificate:?}"), &["tls.key: is required with `tls.certificate`"]);
    refused(&format!("tls.key = {key:?}"), &["tls.certificate: is required with `tls.key`"]);
    let mismatch = format!("tls.certificate = {certificate:?}\ntls.key = {other:?}\n");
    refused(&mismatch, &["tls.key: is not the key of the certificate"]);
    let (missing, no_pem) =
        ("/nowhere: I/O error: No such file or directory (os error 2)", "no certificate found, expected PEM");
    refused(
        &format!("tls.ca = {empty:?}\ntls.certificate = \"/nowhere\"\ntls.key = \"/nowhere\"\n"),
        &[
            &format!("tls.ca: {}: {no_pem}", empty.display()),
            &format!("tls.certificate: {missing}"),
            &format!("tls.key: {missing}"),
        ],
    );
    refused(
        &format!("tls.ca = {{ file = {ca:?} }}"),
        &[&format!("tls.ca: the text of {0} is taken as the path: expected \"{0}\" itself", ca.display())],
    );
}

#[test]
fn version_covers_values_and_files() {
    let files = Files::new();
    let creds = |jwt: &str| files.write("user.creds", &creds(jwt, SEED));
    let [ca, certificate, key] = ["ca.pem", "one.pem", "one.key"].map(|name| files.path(name));
    let path = creds("a.b.c");
    let lines = format!(
        "creds = {{ file = {path:?} }}\ntls.ca = {ca:?}\ntls.certificate = {certificate:?}\ntls.key = {key:?}\n"
    );
    let version_of = |lines: &str| load(&format!("{NATS}{lines}"), &[]).unwrap().clusters["n"].version();
    let version = || version_of(&lines);
    let before = version();
    assert_eq!(version(), before);
    assert_ne!(version_of(&format!("{lines}discover = false")), before);

    creds("d.e.f");
    let renewed = version();
    assert_ne!(renewed, before);
    for path in [ca, certificate, key] {
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, format!("{text}\n")).unwrap();
        assert_ne!(version(), renewed, "{path:?}");
        fs::write(&path, text).unwrap();
        assert_eq!(version(), renewed, "{path:?}");
    }
    let password = files.write("password", "one");
    let lines = format!("user = \"u\"\npassword = {{ file = {password:?} }}\n");
    let before = version_of(&lines);
    files.write("password", "two");
    assert_ne!(version_of(&lines), before);
}
