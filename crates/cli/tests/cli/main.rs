//! The built program, run against a server in this process: what it prints, where, and how it exits.

#[cfg(test)]
mod admin;
#[cfg(test)]
mod completions;
#[cfg(test)]
mod failures;
#[cfg(test)]
mod fetch;
#[cfg(test)]
mod interrupts;
#[cfg(test)]
mod kafka;
#[cfg(test)]
mod list_offsets;
#[cfg(test)]
mod nats;
#[cfg(test)]
mod ping;
#[cfg(test)]
mod produce;
#[cfg(test)]
mod program;
#[cfg(test)]
mod progress;
#[cfg(test)]
mod secrets;
#[cfg(test)]
mod server;
#[cfg(test)]
mod streams;
#[cfg(test)]
mod subscribe;
#[cfg(test)]
mod tls;
#[cfg(test)]
mod topics;
#[cfg(test)]
mod verbose;
