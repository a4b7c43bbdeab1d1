//! The ways in: the gateway between a client and the bridge.

use crate::envoy::Profile;

/// The gateway through which clients reach the bridge, if any.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Envoy in its profile of this name: the filter drives the session.
    Tunnel,
    /// Envoy in its profile of this name, which relays the session: the bridge drives it.
    Relay,
    /// nginx without a filter, which relays the upgrade as APISIX does: the bridge drives the session.
    Nginx,
    /// APISIX's emulated host, for plain HTTP only: see [`apisix`](crate::apisix).
    Apisix,
    /// No gateway, a client on the same machine: the bridge drives the session.
    Direct,
}

impl Way {
    /// The number of ways; `way as usize` is below it.
    pub const COUNT: usize = 5;

    /// Whether the gateway is Envoy, with the filter.
    pub fn is_envoy(self) -> bool {
        match self {
            Self::Tunnel | Self::Relay => true,
            Self::Nginx | Self::Apisix | Self::Direct => false,
        }
    }

    /// Its name, for folders and messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tunnel => Profile::Tunnel.name(),
            Self::Relay => Profile::Relay.name(),
            Self::Nginx => "nginx",
            Self::Apisix => "apisix",
            Self::Direct => "direct",
        }
    }
}

impl From<Profile> for Way {
    fn from(profile: Profile) -> Self {
        match profile {
            Profile::Tunnel => Self::Tunnel,
            Profile::Relay => Self::Relay,
        }
    }
}
