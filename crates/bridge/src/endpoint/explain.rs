//! Explains to an operator what a client could do: by the checks of the client's own request, with their causes.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::{HeaderMap, Request};
use serde::Serialize;
use serde_json::Value;
use sluicegate_backend::CommandError;
use sluicegate_delivery::grant::Grant;
use sluicegate_identity::{Issuer, Unverified};
use sluicegate_protocol::metadata;
use sluicegate_rights::entry::Entry;
use sluicegate_rights::{Claims, Quota, Rights, Rows, Topics};
use sluicegate_telemetry::shown;

use super::gateway::{Admission, admission, check_headers};
use super::identity::claims;
use super::refusal::Refusal;
use super::requester::Requester;
use super::{Endpoint, Settings, rights};
use crate::session::Granted;

/// The answer to an operator: a client's rights, and the reasons for those that it lacks.
#[derive(Default, Serialize)]
pub(crate) struct Explanation {
    /// The bridge's clock.
    now: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    cluster: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    identity: Option<Shown>,
    /// None: the client is admitted.
    #[serde(skip_serializing_if = "Option::is_none")]
    refused: Option<Refused>,
    entries: Vec<AppliedEntry>,
    /// The claim with capabilities.
    #[serde(skip_serializing_if = "Option::is_none")]
    capabilities: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    quota: Option<Quota>,
    topics: Vec<Decisions>,
}

/// An identity as it says itself: it is true unless the client is refused.
#[derive(Default, Serialize)]
struct Shown {
    /// The `[identity.NAME]` that verifies it.
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expected: Option<Expected>,
    #[serde(skip_serializing_if = "Option::is_none")]
    algorithm: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    issuer: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    audience: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    issued_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    not_before: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<String>,
}

/// The tokens of an issuer that are accepted.
#[derive(Serialize)]
struct Expected {
    issuer: String,
    audience: Vec<String>,
    algorithms: Vec<String>,
    leeway_ms: u64,
}

#[derive(Serialize)]
struct Refused {
    status: u16,
    reason: &'static str,
    cause: String,
}

/// An entry of the route's policy, and what it grants to this client.
#[derive(Serialize)]
struct AppliedEntry {
    right: &'static str,
    entry: Entry,
    grants: Vec<GrantedTopics>,
    #[serde(skip_serializing_if = "Option::is_none")]
    because: Option<&'static str>,
}

#[derive(Serialize)]
struct GrantedTopics {
    topic: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    rows: Option<String>,
}

/// The rights to a topic.
#[derive(Serialize)]
struct Decisions {
    topic: String,
    read: Decision,
    write: Decision,
    table: Decision,
}

#[derive(Serialize)]
struct Decision {
    allowed: bool,
    /// The records, if it is allowed.
    #[serde(skip_serializing_if = "Option::is_none")]
    rows: Option<String>,
    /// The error that the client gets.
    #[serde(skip_serializing_if = "Option::is_none")]
    cause: Option<String>,
    /// The rule that denies it.
    #[serde(skip_serializing_if = "Option::is_none")]
    because: Option<&'static str>,
}

impl Endpoint {
    /// The rights of the client for which a gateway sends these headers. No refusal is counted or logged.
    ///
    /// # Cancel safety
    /// A drop abandons the wait for an issuer's keys.
    pub(crate) async fn explain<B>(
        self: &Arc<Self>,
        request: &Request<B>,
        topics: Vec<String>,
    ) -> Explanation {
        let (now, identity) = (shown::time(SystemTime::now()), self.shown(request.headers()));
        match self.explained(request, topics).await {
            Ok(explanation) => Explanation { now, identity, ..explanation },
            Err(refusal) => {
                let (status, reason, cause) = (refusal.status().as_u16(), refusal.label(), refusal.text());
                let refused = Some(Refused { status, reason, cause });
                Explanation { now, identity, refused, ..Explanation::default() }
            }
        }
    }

    async fn explained<B>(
        self: &Arc<Self>,
        request: &Request<B>,
        topics: Vec<String>,
    ) -> Result<Explanation, Refusal> {
        let headers = request.headers();
        check_headers(headers)?;
        let mut requester = Requester::of(request, None);
        requester.believe(request);
        let Granted { grant, .. } = self.grant(request, &mut requester).await?;
        let settings = self.settings.load_full();
        let admission = admission(headers, &settings.believed, None).await?;
        let layers = Layers::of(&admission, &settings, &grant);
        let policy = admission.policy.as_ref();
        let capabilities = policy.and_then(|policy| policy.capabilities.as_ref());
        Ok(Explanation {
            cluster: Some(grant.metrics().name().to_owned()),
            entries: applied(&admission),
            capabilities: capabilities.and_then(|path| layers.claims.at(path)).cloned(),
            quota: policy.filter(|_| admission.identity.is_some()).map(|policy| policy.quota),
            topics: topics.into_iter().map(|topic| layers.decisions(&grant, topic)).collect(),
            ..Explanation::default()
        })
    }

    /// The identity in `headers` as it says itself; None: there is none that can be read.
    fn shown(&self, headers: &HeaderMap) -> Option<Shown> {
        if let Some(told) = headers.get(metadata::IDENTITY) {
            return claims(told.as_bytes()).ok().map(|claims| Shown::of(&claims));
        }
        let token = headers.get(metadata::TOKEN)?;
        let way = rights::policy(headers).ok().flatten().and_then(|policy| policy.identity);
        let name = way.and_then(|way| way.token);
        let settings = self.settings.load();
        let expected = name.as_ref().and_then(|name| settings.believed.issuer(name)).map(Expected::of);
        let shown = match Unverified::parse(token.as_bytes()) {
            None => Shown::default(),
            Some(Unverified { algorithm, key, claims }) => Shown {
                algorithm: Some(format!("{algorithm:?}")),
                key: key.map(|key| shown::name(&key).into_owned()),
                ..Shown::of(&claims)
            },
        };
        Some(Shown { name, expected, ..shown })
    }
}

impl Shown {
    fn of(claims: &Claims) -> Self {
        let text = |text: Option<&str>| text.map(|text| shown::name(text).into_owned());
        let time = |time: Option<i64>| {
            let since = Duration::from_secs(time?.try_into().ok()?);
            SystemTime::UNIX_EPOCH.checked_add(since).map(shown::time)
        };
        Self {
            issuer: text(claims.issuer()),
            subject: text(claims.subject()),
            audience: claims.at(&["aud".to_owned()]).cloned(),
            issued_at: time(claims.issued_at().ok().flatten()),
            not_before: time(claims.not_before().ok().flatten()),
            expires_at: time(claims.expires_at().ok().flatten()),
            ..Self::default()
        }
    }
}

impl Expected {
    fn of(issuer: &Issuer) -> Self {
        Self {
            issuer: issuer.name.clone(),
            audience: issuer.audience.clone(),
            algorithms: issuer.algorithms.iter().map(|algorithm| format!("{algorithm:?}")).collect(),
            leeway_ms: shown::millis(issuer.leeway),
        }
    }
}

/// The rights of a client in the order in which they are narrowed.
struct Layers {
    claims: Claims,
    /// Each with the reason if it is the first that denies a topic.
    rights: Vec<(Rights, &'static str)>,
    /// The topics that all of them leave.
    left: Rights,
}

impl Layers {
    fn of(admission: &Admission, settings: &Settings, grant: &Grant) -> Self {
        let claims = admission.identity.as_ref().map(|identity| identity.claims.clone()).unwrap_or_default();
        let mut rights = vec![(admission.route.clone(), ROUTE)];
        if let Some(policy) = &admission.policy {
            rights.extend([(policy.granted(&claims), ENTRIES), (policy.left(&claims), CAPABILITIES)]);
        }
        let left = settings.rights(admission.rights(), grant.system());
        rights.push((left.clone(), INTERNAL));
        Self { claims, rights, left }
    }

    fn decisions(&self, grant: &Grant, topic: String) -> Decisions {
        let Rights { read, write, .. } = &self.left;
        let rows = |topics: &Option<Topics>| -> Option<Rows> { topics.as_ref()?.rows(&topic) };
        let (reads, writes) = (self.because(&topic, Rights::reads), self.because(&topic, Rights::writes));
        let read_checked = grant.check_read(&topic);
        let table_checked = read_checked.clone().and_then(|()| grant.check_table(&topic));
        Decisions {
            table: Decision::of(table_checked, rows(read), reads),
            read: Decision::of(read_checked, rows(read), reads),
            write: Decision::of(grant.can_write(&topic), rows(write), writes),
            topic,
        }
    }

    /// The first rule that denies a topic.
    fn because(&self, topic: &str, has: impl Fn(&Rights, &str) -> bool) -> Option<&'static str> {
        self.rights.iter().find(|(rights, _)| !has(rights, topic)).map(|(_, because)| *because)
    }
}

impl Decision {
    fn of(checked: Result<(), CommandError>, rows: Option<Rows>, because: Option<&'static str>) -> Self {
        match checked {
            Ok(()) => {
                Self { allowed: true, rows: rows.map(|rows| rows.to_string()), cause: None, because: None }
            }
            Err(error) => Self { allowed: false, rows: None, cause: Some(error.message), because },
        }
    }
}

/// The grant of each entry of the route's policy to the client.
fn applied(admission: &Admission) -> Vec<AppliedEntry> {
    let Some(policy) = &admission.policy else { return Vec::new() };
    let nobody = Claims::default();
    let claims = admission.identity.as_ref().map_or(&nobody, |identity| &identity.claims);
    let mut applied = Vec::new();
    for (right, entries) in [("read", &policy.read), ("write", &policy.write), ("consume", &policy.consume)] {
        for (entry, outcome) in policy.outcomes(entries.as_deref().unwrap_or_default(), claims) {
            let because = outcome.as_ref().err().map(|not_granted| not_granted.text());
            let granted = outcome.unwrap_or_default().into_iter();
            let grants = granted.map(|(pattern, row)| GrantedTopics {
                topic: pattern.to_string(),
                rows: row.map(|row| row.to_string()),
            });
            applied.push(AppliedEntry { right, entry: entry.clone(), grants: grants.collect(), because });
        }
    }
    applied
}

const ROUTE: &str = "the route grants it to nobody";
const ENTRIES: &str = "no entry of the route grants it to this client";
const CAPABILITIES: &str = "the capabilities of this identity leave it out";
const INTERNAL: &str = "it is the bridge's own topic, or an internal one of the system that no list names";
