//! The metrics that the filter defines: Envoy's counters, gauges and histograms behind numbered handles.

use std::collections::BTreeMap;

use crate::abi::status::Status;

/// All metrics of one VM. Envoy gives each definition a new handle, and handles of one name share one metric.
#[derive(Default)]
pub(crate) struct Metrics {
    handles: BTreeMap<u32, String>,
    values: BTreeMap<String, u64>,
    samples: BTreeMap<String, Vec<u64>>,
}

impl Metrics {
    pub(crate) fn value(&self, name: &str) -> Option<u64> {
        self.values.get(name).copied()
    }

    pub(crate) fn samples(&self, name: &str) -> &[u64] {
        self.samples.get(name).map_or(&[], Vec::as_slice)
    }

    /// Envoy, `defineMetric`: the low two bits of a handle are the kind.
    pub(crate) fn define(&mut self, kind: u32, name: &[u8]) -> Result<u32, Status> {
        let name = String::from_utf8_lossy(name).into_owned();
        match kind {
            COUNTER | GAUGE => drop(self.values.entry(name.clone()).or_default()),
            HISTOGRAM => drop(self.samples.entry(name.clone()).or_default()),
            _ => return Err(Status::BAD_ARGUMENT),
        }
        let count = u32::try_from(self.handles.len()).map_err(|_| Status::INTERNAL_FAILURE)?;
        let handle =
            count.checked_add(1).and_then(|n| n.checked_mul(4)).ok_or(Status::INTERNAL_FAILURE)? | kind;
        self.handles.insert(handle, name);
        Ok(handle)
    }

    /// Envoy, `incrementMetric`: a counter accepts positive values only, a gauge any value, a histogram none.
    pub(crate) fn increment(&mut self, handle: u32, by: i64) -> Result<(), Status> {
        if handle & KIND >= HISTOGRAM {
            return Err(Status::BAD_ARGUMENT);
        }
        let value = self.slot(handle)?;
        if handle & KIND == COUNTER && by <= 0 {
            return Err(Status::BAD_ARGUMENT);
        }
        *value = value.wrapping_add_signed(by);
        Ok(())
    }

    /// Envoy, `recordMetric`: adds to a counter, sets a gauge, samples a histogram.
    pub(crate) fn record(&mut self, handle: u32, value: u64) -> Result<(), Status> {
        match handle & KIND {
            COUNTER => {
                let slot = self.slot(handle)?;
                *slot = slot.wrapping_add(value);
            }
            GAUGE => *self.slot(handle)? = value,
            _ => {
                let name = self.handles.get(&handle).ok_or(Status::NOT_FOUND)?;
                let samples = self.samples.get_mut(name).ok_or(Status::NOT_FOUND)?;
                if samples.len() < MAX_SAMPLES {
                    samples.push(value);
                }
            }
        }
        Ok(())
    }

    fn slot(&mut self, handle: u32) -> Result<&mut u64, Status> {
        let name = self.handles.get(&handle).ok_or(Status::NOT_FOUND)?;
        self.values.get_mut(name).ok_or(Status::NOT_FOUND)
    }
}

const COUNTER: u32 = 0;
const GAUGE: u32 = 1;
const HISTOGRAM: u32 = 2;

/// cpp-host, `kMetricTypeMask`.
const KIND: u32 = 3;

/// Samples kept for each histogram, 8 bytes each.
const MAX_SAMPLES: usize = 100_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_accepts_the_same_values_as_in_envoy() {
        let mut metrics = Metrics::default();
        let counter = metrics.define(COUNTER, b"c").unwrap();
        let gauge = metrics.define(GAUGE, b"g").unwrap();
        let histogram = metrics.define(HISTOGRAM, b"h").unwrap();
        assert_eq!(metrics.define(3, b"x"), Err(Status::BAD_ARGUMENT));

        assert_eq!(metrics.increment(counter, 2), Ok(()));
        assert_eq!(metrics.increment(counter, 0), Err(Status::BAD_ARGUMENT));
        assert_eq!(metrics.record(counter, 3), Ok(()));
        assert_eq!(metrics.value("c"), Some(5));

        assert_eq!(metrics.record(gauge, 7), Ok(()));
        assert_eq!(metrics.increment(gauge, -3), Ok(()));
        assert_eq!(metrics.value("g"), Some(4));

        assert_eq!(metrics.increment(histogram, 1), Err(Status::BAD_ARGUMENT));
        assert_eq!(metrics.record(histogram, 9), Ok(()));
        assert_eq!(metrics.samples("h"), [9]);

        assert_eq!(metrics.increment(counter + 400, 1), Err(Status::NOT_FOUND));
    }

    #[test]
    fn handles_of_one_name_share_a_metric() {
        let mut metrics = Metrics::default();
        let first = metrics.define(COUNTER, b"c").unwrap();
        let second = metrics.define(COUNTER, b"c").unwrap();
        assert_ne!(first, second);
        metrics.increment(first, 1).unwrap();
        metrics.increment(second, 1).unwrap();
        assert_eq!(metrics.value("c"), Some(2));
    }
}
