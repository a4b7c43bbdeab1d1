//! The same work on several subjects, in turns.

use std::time::Instant;

use sluicegate_stack::stack::Stack;

use crate::Failure;
use crate::figures::Figures;
use crate::place::{Meter, gateway};
use crate::report::median;

/// The values of each subject: all are measured in turns.
pub(crate) async fn in_turns<K, V>(
    rounds: u32,
    subjects: &[K],
    mut measure: impl AsyncFnMut(&K) -> Result<V, Failure>,
) -> Result<Vec<Vec<V>>, Failure> {
    let mut values: Vec<Vec<V>> = subjects.iter().map(|_| Vec::new()).collect();
    for _ in 0..rounds {
        for (subject, values) in subjects.iter().zip(&mut values) {
            values.push(measure(subject).await?);
        }
    }
    Ok(values)
}

/// A way to do the work of [`add_costs`].
pub(crate) struct Subject<K> {
    pub(crate) name: String,
    pub(crate) stack: Stack,
    /// Units of work that are done at once.
    pub(crate) units: usize,
    pub(crate) how: K,
}

/// Lets each stack do the `work` once, and then [`ROUNDS`] times in turns. Adds the costs of a unit of it, of which a second
/// has `of_second`: the time by the clock, while others are done too, and CPU, beside that of the first stack.
pub(crate) async fn add_costs<K>(
    figures: &mut Figures,
    (unit, of_second): (&str, f64),
    subjects: &[Subject<K>],
    work: impl AsyncFn(&Subject<K>) -> Result<(), Failure>,
) -> Result<(), Failure> {
    for subject in subjects {
        work(subject).await?;
    }
    let costs = in_turns(ROUNDS, subjects, async |subject| {
        let (meter, start) = (Meter::start(gateway(&subject.stack))?, Instant::now());
        work(subject).await?;
        let (took, [envoy, bridge]) = (start.elapsed().as_secs_f64(), meter.seconds()?);
        let each = of_second / subject.units as f64;
        Ok([envoy + bridge, envoy, bridge, took].map(|seconds| seconds * each))
    })
    .await?;
    let mut first = None;
    for (Subject { name, .. }, costs) in subjects.iter().zip(&costs) {
        let [both, envoy, bridge, took] = [0, 1, 2, 3].map(|at| column(costs, at));
        let (both_median, bridge_median) = (median(both.iter().copied()), median(bridge.iter().copied()));
        let (first_both, first_bridge) = *first.get_or_insert((both_median, bridge_median));
        figures.less(&format!("{name}: CPU of Envoy and bridge"), unit, both);
        figures.less(&format!("{name}: CPU of Envoy"), unit, envoy);
        figures.less(&format!("{name}: CPU of the bridge"), unit, bridge);
        figures.less(&format!("{name}: time"), unit, took);
        figures.less(&format!("{name}: CPU of both: ratio"), "×", [both_median / first_both]);
        figures.less(&format!("{name}: CPU of the bridge: ratio"), "×", [bridge_median / first_bridge]);
    }
    Ok(())
}

/// The values at this place of each row.
pub(crate) fn column<const N: usize>(rows: &[[f64; N]], at: usize) -> Vec<f64> {
    rows.iter().filter_map(|row| row.get(at).copied()).collect()
}

pub(crate) const ROUNDS: u32 = 5;
