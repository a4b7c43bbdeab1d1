//! Ports that are exclusive among all tests of all processes.
//!
//! A restarted part must get the same port, so a port stays owned while nothing listens on it. Three things make that
//! safe: the ports are below the kernel's range for outgoing connections; each is claimed with an abstract Unix socket
//! of its number, which the kernel releases when its owner ends; and a claimed port is returned only if it can be
//! bound.

use std::fs;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr as UnixAddr, UnixListener};
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};

use tokio::net::{TcpSocket, TcpStream};

use crate::Error;

/// A TCP port of 127.0.0.1, owned until dropped.
#[derive(Debug)]
pub struct Port {
    number: u16,
    _claim: UnixListener,
}

impl Port {
    pub fn pick() -> Result<Self, Error> {
        let first = FIRST;
        let last = first_ephemeral().saturating_sub(1).max(first);
        let count = u32::from(last.saturating_sub(first)).saturating_add(1);
        // Processes start at different ports, and a released port is reused last.
        let start = process::id().wrapping_mul(61);
        for _ in 0..count {
            let step = start.wrapping_add(PICKED.fetch_add(1, Ordering::Relaxed)) % count;
            match Self::claim(first.saturating_add(u16::try_from(step).unwrap_or(0))) {
                Err(Error::PortInUse(_)) => {}
                result => return result,
            }
        }
        Err(Error::SetUp(format!("find a free port from {first} to {last}")))
    }

    pub fn claim(number: u16) -> Result<Self, Error> {
        let in_use_or = |what: &str, e: std::io::Error| match e.kind() {
            ErrorKind::AddrInUse => Error::PortInUse(number),
            _ => Error::failed(format!("{what} port {number}"))(e),
        };
        let name = UnixAddr::from_abstract_name(format!("sluicegate-port-{number}"))
            .map_err(Error::failed("name the claim of a port"))?;
        let claim = UnixListener::bind_addr(&name).map_err(|e| in_use_or("claim", e))?;
        // It does not listen: a process that is started at this moment has a copy of it until it runs its program, and where
        // one listens, nobody else can. This one fails only beside another that does.
        let probe = TcpSocket::new_v4().map_err(Error::failed("make a socket"))?;
        probe.set_reuseaddr(true).map_err(Error::failed("share a port"))?;
        probe.bind((Ipv4Addr::UNSPECIFIED, number).into()).map_err(|e| in_use_or("bind", e))?;
        Ok(Self { number, _claim: claim })
    }

    pub fn number(&self) -> u16 {
        self.number
    }

    /// Whether somebody accepts connections.
    pub(crate) async fn listens(&self) -> Result<(), String> {
        TcpStream::connect(self.address()).await.map(drop).map_err(|error| error.to_string())
    }

    pub fn address(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.number))
    }
}

/// The first port of the kernel's range for outgoing connections.
fn first_ephemeral() -> u16 {
    fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range")
        .ok()
        .and_then(|range| range.split_whitespace().next()?.parse().ok())
        .unwrap_or(32_768)
}

/// Above the ports that well-known services use.
const FIRST: u16 = 20_000;
static PICKED: AtomicU32 = AtomicU32::new(0);
