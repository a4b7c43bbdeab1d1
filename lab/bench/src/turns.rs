//! The cost of the same work on several stacks, in turns.

use std::time::Instant;

use sluicegate_stack::stack::Stack;

use crate::Failure;
use crate::place::{Meter, gateway};
use crate::report::median;

/// The cost of one unit of work.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cost {
    /// By the clock, while others are done too.
    pub(crate) took: f64,
    pub(crate) envoy: f64,
    pub(crate) bridge: f64,
}

impl Cost {
    pub(crate) fn both(&self) -> f64 {
        self.envoy + self.bridge
    }

    pub(crate) fn median(costs: &[Self]) -> Self {
        let of = |cost: fn(&Self) -> f64| median(costs.iter().map(cost));
        Self { took: of(|cost| cost.took), envoy: of(|cost| cost.envoy), bridge: of(|cost| cost.bridge) }
    }
}

/// Lets each stack do the `work` once, and then [`ROUNDS`] times in turns. Gives the costs of each: seconds, times what
/// `scale` says.
pub(crate) async fn in_turns<K>(
    stacks: &[(K, Stack)],
    scale: impl Fn(&K) -> f64,
    work: impl AsyncFn(&K, &Stack) -> Result<(), Failure>,
) -> Result<Vec<Vec<Cost>>, Failure> {
    for (kind, stack) in stacks {
        work(kind, stack).await?;
    }
    let mut costs: Vec<Vec<Cost>> = stacks.iter().map(|_| Vec::new()).collect();
    for _ in 0..ROUNDS {
        for ((kind, stack), costs) in stacks.iter().zip(&mut costs) {
            let (meter, start) = (Meter::start(gateway(stack))?, Instant::now());
            work(kind, stack).await?;
            let (took, [envoy, bridge]) = (start.elapsed().as_secs_f64(), meter.seconds()?);
            let [took, envoy, bridge] = [took, envoy, bridge].map(|seconds| seconds * scale(kind));
            costs.push(Cost { took, envoy, bridge });
        }
    }
    Ok(costs)
}

pub(crate) const ROUNDS: usize = 5;
