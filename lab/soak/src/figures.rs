//! Resource use of the processes.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program's output")]

use std::error::Error;
use std::fmt::{self, Display, Formatter};
use std::iter::successors;

use sluicegate_stack::process::Usage;
use sluicegate_stack::stack::Stack;

use crate::Failure;

/// Of both processes, at one time or as a mean.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Figures {
    pub(crate) bridge: Usage,
    pub(crate) envoy: Usage,
}

impl Figures {
    pub(crate) fn of(stack: &Stack) -> Result<Self, Failure> {
        Ok(Self { bridge: stack.bridge.process.usage()?, envoy: stack.envoy().process.usage()? })
    }

    /// The mean of samples.
    pub(crate) fn mean(samples: &[Self]) -> Option<Self> {
        let of = |of: fn(&Self) -> Usage| mean(&samples.iter().map(of).collect::<Vec<_>>());
        Some(Self { bridge: of(|figures| figures.bridge)?, envoy: of(|figures| figures.envoy)? })
    }

    /// A row of the table.
    pub(crate) fn print(&self, seconds: u64, messages: u64) {
        let Self { bridge, envoy } = self;
        println!(
            "{seconds:>7} {:>11} {:>10} {:>12} {:>11} {:>14} {:>13} {messages:>13}",
            bridge.resident_bytes / MIB,
            envoy.resident_bytes / MIB,
            bridge.descriptors,
            envoy.descriptors,
            bridge.threads,
            envoy.threads,
        );
    }
}

impl Display for Figures {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { bridge, envoy } = self;
        for (name, usage) in [("bridge", bridge), (", Envoy", envoy)] {
            let Usage { resident_bytes, descriptors, threads, .. } = usage;
            write!(f, "{name} {} MiB, {descriptors} descriptors, {threads} threads", resident_bytes / MIB)?;
        }
        Ok(())
    }
}

/// The mean of samples, with the CPU of the last one.
pub(crate) fn mean(samples: &[Usage]) -> Option<Usage> {
    let (last, count) = (samples.last()?, u64::try_from(samples.len()).ok()?);
    let mean = |field: fn(&Usage) -> u64| samples.iter().map(field).sum::<u64>().checked_div(count);
    Some(Usage {
        resident_bytes: mean(|usage| usage.resident_bytes)?,
        descriptors: mean(|usage| usage.descriptors)?,
        threads: mean(|usage| usage.threads)?,
        ..*last
    })
}

pub(crate) fn heading() {
    println!(
        "seconds  bridge MiB  Envoy MiB  bridge files  Envoy files  bridge threads  Envoy threads  messages read"
    );
}

pub(crate) fn say(line: &str) {
    println!("{line}");
}

/// An error with its causes.
pub(crate) fn complain(error: &(dyn Error + 'static)) {
    let causes = successors(Some(error), |&error| error.source()).map(ToString::to_string);
    eprintln!("soak: {}", causes.collect::<Vec<_>>().join(": "));
}

pub(crate) const MIB: u64 = 1 << 20;
