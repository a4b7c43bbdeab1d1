//! The gateway of a stack, one of four.

use std::net::SocketAddr;
use std::path::Path;

use super::setup::Setup;
use crate::Error;
use crate::apisix::Apisix;
use crate::bridge::Bridge;
use crate::envoy::{self, Envoy, Profile};
use crate::nginx::Nginx;
use crate::port::Port;
use crate::process::{self, Process};
use crate::way::Way;

pub(super) enum Gateway {
    Envoy(Envoy),
    Nginx(Nginx),
    Apisix(Apisix),
    /// No gateway: clients connect to the bridge itself.
    None,
}

impl Gateway {
    pub(super) async fn start(setup: Setup, bridge: &Bridge, dir: &Path) -> Result<Self, Error> {
        // Silently ignored edits would weaken a test.
        if !setup.way.is_envoy() && !setup.envoy_edits.is_empty() {
            return Err(Error::SetUp("edit Envoy's configuration: this stack has no Envoy".to_owned()));
        }
        let gateway = setup.gateway.map_or_else(Port::pick, Ok)?;
        let profile = match setup.way {
            Way::Tunnel => Profile::Tunnel,
            Way::Relay => Profile::Relay,
            Way::Nginx => {
                return Ok(Self::Nginx(Nginx::start(gateway, bridge.grpc(), &setup.routes, dir).await?));
            }
            Way::Apisix => {
                return Ok(Self::Apisix(Apisix::start(gateway, bridge.grpc(), setup.apisix).await?));
            }
            Way::Direct => return Ok(Self::None),
        };
        let setup = envoy::Setup {
            profile,
            gateway,
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

    /// Where `/readyz` is, which Envoy's configurations forward to the bridge.
    pub(super) fn readiness(&self, bridge: &Bridge) -> (SocketAddr, &'static str) {
        match self {
            Self::Envoy(envoy) => (envoy.gateway(), "/readyz"),
            Self::Nginx(_) | Self::Apisix(_) | Self::None => (bridge.admin(), "/readyz?cluster=default"),
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
        process::watch(self.process_mut()).await
    }
}
