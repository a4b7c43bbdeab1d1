//! The gateway of a stack, one of four.

use std::future::pending;
use std::net::SocketAddr;
use std::path::Path;

use super::setup::Setup;
use crate::apisix::Apisix;
use crate::bridge::Bridge;
use crate::envoy::{self, Envoy, Profile};
use crate::nginx::Nginx;
use crate::port::Port;
use crate::process::Process;
use crate::way::Way;
use crate::{Error, http};

pub(super) enum Gateway {
    Envoy(Envoy),
    Nginx(Nginx),
    Apisix(Apisix),
    /// No gateway: clients connect to the bridge itself.
    None,
}

impl Gateway {
    pub(super) async fn start(setup: Setup, bridge: &Bridge, dir: &Path) -> Result<Self, Error> {
        let profile = match setup.way {
            Way::Tunnel => Profile::Tunnel,
            Way::Relay => Profile::Relay,
            // Silently ignored edits would weaken a test.
            Way::Nginx | Way::Apisix | Way::Direct if !setup.envoy_edits.is_empty() => {
                return Err(Error::SetUp("edit Envoy's configuration: this stack has no Envoy".to_owned()));
            }
            Way::Nginx => {
                let gateway = setup.gateway.map_or_else(Port::pick, Ok)?;
                return Ok(Self::Nginx(Nginx::start(gateway, bridge.grpc(), &setup.routes, dir).await?));
            }
            Way::Apisix => {
                let gateway = setup.gateway.map_or_else(Port::pick, Ok)?;
                return Ok(Self::Apisix(Apisix::start(gateway, bridge.grpc(), setup.apisix).await?));
            }
            Way::Direct => return Ok(Self::None),
        };
        let setup = envoy::Setup {
            profile,
            gateway: setup.gateway.map_or_else(Port::pick, Ok)?,
            bridge: bridge.grpc(),
            bridge_admin: bridge.admin(),
            program: setup.envoy,
            concurrency: setup.concurrency,
            edits: setup.envoy_edits,
        };
        Ok(Self::Envoy(Envoy::start(setup, dir).await?))
    }

    pub(super) fn address(&self, bridge: &Bridge) -> SocketAddr {
        match self {
            Self::Envoy(envoy) => envoy.gateway(),
            Self::Nginx(nginx) => nginx.gateway(),
            Self::Apisix(apisix) => apisix.gateway(),
            Self::None => bridge.grpc(),
        }
    }

    pub(super) fn process(&self) -> Option<&Process> {
        match self {
            Self::Envoy(envoy) => Some(&envoy.process),
            Self::Nginx(nginx) => Some(&nginx.process),
            // It is a thread of this process.
            Self::Apisix(_) | Self::None => None,
        }
    }

    pub(super) fn process_mut(&mut self) -> Option<&mut Process> {
        match self {
            Self::Envoy(envoy) => Some(&mut envoy.process),
            Self::Nginx(nginx) => Some(&mut nginx.process),
            // It is a thread of this process.
            Self::Apisix(_) | Self::None => None,
        }
    }

    pub(super) async fn watch(&mut self) -> Error {
        match self.process_mut() {
            Some(process) => process.watch().await,
            None => pending().await,
        }
    }
}

/// The address of `/readyz`, which Envoy's configurations forward to the bridge.
#[derive(Clone, Copy)]
pub(super) struct Readiness {
    address: SocketAddr,
    path: &'static str,
}

impl Readiness {
    pub(super) fn of(gateway: &Gateway, bridge: &Bridge) -> Self {
        match gateway {
            Gateway::Envoy(envoy) => Self { address: envoy.gateway(), path: "/readyz" },
            Gateway::Nginx(_) | Gateway::Apisix(_) | Gateway::None => {
                Self { address: bridge.admin(), path: "/readyz?cluster=default" }
            }
        }
    }

    pub(super) async fn ask(self) -> Result<(), String> {
        let answer = http::get(self.address, self.path).await?;
        match answer.status {
            200 => Ok(()),
            status => Err(format!("{status} {}", answer.body.trim())),
        }
    }
}
