//! Systems to compare.

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Sluicegate,
    Nats,
    /// With an Envoy in front of it, which only relays.
    NatsBehindEnvoy,
    /// The gateway in front of JetStream.
    SluicegateOnNats,
    /// JetStream, with a consumer for each socket.
    Consumers,
    /// JetStream, whose messages the sockets get without it: what they miss is missed.
    Core,
}

impl Kind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Sluicegate => "Sluicegate",
            Self::Nats => "nats",
            Self::NatsBehindEnvoy => "nats behind Envoy",
            Self::SluicegateOnNats => "Sluicegate",
            Self::Consumers => "ordered consumers",
            Self::Core => "core NATS",
        }
    }

    /// Of the ratio to it in a flood.
    pub(super) fn target(self) -> &'static str {
        match self {
            Self::Nats => " (target 1.5)",
            _ => "",
        }
    }
}
