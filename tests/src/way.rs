//! The ways in: the gateway between a client and the bridge.

use crate::envoy::Profile;

/// The gateway through which clients reach the bridge, if any.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Envoy in its profile of this name: the filter drives the session.
    Tunnel,
    /// Envoy in its profile of this name: the filter drives the session.
    Internal,
    /// nginx, which relays the upgrade as APISIX does: the bridge drives the session.
    Relay,
    /// APISIX's emulated host, for plain HTTP only: see [`apisix`](crate::apisix).
    Apisix,
    /// No gateway, a client on the same machine: the bridge drives the session.
    Direct,
}

impl Way {
    /// All ways that carry sessions.
    pub const ALL: [Self; 4] = [Self::Tunnel, Self::Internal, Self::Relay, Self::Direct];
    /// The number of ways; `way as usize` is below it.
    pub const COUNT: usize = Self::ALL.len() + 1;

    /// Whether a filter drives the session.
    #[must_use]
    pub fn has_filter(self) -> bool {
        match self {
            Self::Tunnel | Self::Internal => true,
            Self::Relay | Self::Apisix | Self::Direct => false,
        }
    }

    /// Its name, for folders and messages.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Tunnel => Profile::Tunnel.name(),
            Self::Internal => Profile::Internal.name(),
            Self::Relay => "relay",
            Self::Apisix => "apisix",
            Self::Direct => "direct",
        }
    }
}

impl From<Profile> for Way {
    fn from(profile: Profile) -> Self {
        match profile {
            Profile::Tunnel => Self::Tunnel,
            Profile::Internal => Self::Internal,
        }
    }
}
