//! Settings that the endpoint reads for each request. A new configuration replaces it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use sluicegate_backend::System;
use sluicegate_rights::Rights;
use tokio::time::Instant;

use super::identity::Believed;
use crate::config::{Config, Secret};
use crate::session;

/// A session keeps the settings that it was opened with.
pub(crate) struct Settings {
    /// Any of them authenticates a gateway. Empty: none is needed.
    pub(super) secrets: Vec<Secret>,
    /// Gateways present a certificate.
    pub(super) needs_certificate: bool,
    /// Gateways authenticate, with a secret or a client certificate.
    pub(super) authenticated: bool,
    /// The identities that are believed.
    pub(super) believed: Believed,
    /// How long sessions and streams of events last.
    pub(super) max_age: Option<Duration>,
    pub(super) limits: session::Limits,
    /// Limits on messages of WebSocket clients.
    pub(super) messages: sluicegate_ws_session::Limits,
    /// `session.drain_timeout_ms`.
    pub(crate) drain_timeout: Duration,
    /// The topic with revoked identities. No client can use it.
    pub(super) own_topic: Option<Arc<str>>,
    /// Names of claims in the audit log.
    pub(super) logged_claims: BTreeSet<String>,
    /// Whether clients are refused while the audit log takes no lines.
    pub(super) needs_audit: bool,
    /// The token of operators who list sessions and end them. None: nobody can.
    pub(crate) admin_token: Option<Secret>,
}

impl Settings {
    /// These rights at a cluster of `system`, without the bridge's own topic, and the system's own ones that no list has.
    pub(super) fn rights(&self, rights: Rights, system: System) -> Rights {
        let rights = rights.without_internal(system.internal);
        match &self.own_topic {
            Some(topic) => rights.except(topic),
            None => rights,
        }
    }

    /// The settings of a configuration, which keeps what it can of the settings `before`.
    pub(crate) fn of(config: &Config, before: Option<&Self>) -> Self {
        let limits = session::Limits {
            max_request_bytes: config.limits.max_request_bytes,
            max_commands: config.limits.max_commands_per_session,
            answer_bytes: config.limits.session_answer_bytes,
            ping_interval: config.session.ping_interval,
            first_tick: before.map_or_else(Instant::now, |before| before.limits.first_tick),
            close_timeout: config.session.close_timeout,
            drain_grace: config.session.drain_timeout / 2,
        };
        Self {
            secrets: config.gateway_secret.iter().chain(&config.second_gateway_secret).cloned().collect(),
            needs_certificate: config.needs_certificate(),
            authenticated: config.knows_gateways(),
            believed: Believed::of(config, before.map_or(&Believed::default(), |before| &before.believed)),
            max_age: config.limits.max_session_age,
            limits,
            messages: sluicegate_ws_session::Limits { max_message_bytes: config.limits.max_request_bytes },
            drain_timeout: config.session.drain_timeout,
            logged_claims: config.audit.claims.clone(),
            needs_audit: config.audit.refuses,
            admin_token: config.admin_token.clone(),
            own_topic: match before {
                // Another one needs a restart.
                Some(before) => before.own_topic.clone(),
                None => config.revocation.topic.as_ref().map(|topic| topic.name.as_str().into()),
            },
        }
    }
}
