//! Orders in Avro, whose schema is in a registry.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rdkafka::producer::{FutureProducer, FutureRecord};
use serde_json::json;
use sluicegate_schemas::{avro::Schema, wire};
use sluicegate_stack::registry::Registry;

use crate::Failure;

/// Orders that are written with a schema.
pub(crate) struct Orders {
    registry: String,
    schema: Schema,
    id: u32,
}

impl Orders {
    /// Orders whose schema this registry gets.
    pub(crate) async fn new(registry: &Registry) -> Result<Self, Failure> {
        let id = registry.register(&format!("{TOPIC}-value"), &json!({ "schema": SCHEMA })).await;
        Ok(Self { registry: registry.url(), schema: Schema::parse(SCHEMA, &[])?, id })
    }

    /// The part of the bridge's configuration that names the registry.
    pub(crate) fn bridge_config(&self) -> String {
        format!("[schemas.{NAME}]\nurl = {:?}\n", self.registry)
    }

    /// Writes the record of this number. Each order has one for each status.
    pub(crate) fn write(&self, producer: &FutureProducer, number: u32) -> Result<(), Failure> {
        let (key, value) = self.record(number)?;
        // The delivery report is ignored: readers see whether the record arrived.
        let written = producer.send_result(FutureRecord::to(TOPIC).key(&key).payload(&value));
        Ok(written.map(drop).map_err(|(error, _)| error)?)
    }

    fn record(&self, number: u32) -> Result<(String, Vec<u8>), Failure> {
        let (order, step) = (number / 3, number % 3);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        let value = json!({
            "order": order,
            "status": STATUSES.get(step as usize),
            "amount": format!("{}.{:02}", order % 90 + 10, order % 100),
            "changed_at": u64::try_from(now.as_millis())?,
            "note": (step == 2).then_some("at the lock"),
        });
        let mut bytes = Vec::new();
        wire::prefix(self.id, None, &mut bytes);
        self.schema.encode(value.to_string().as_bytes(), &mut bytes)?;
        Ok((order.to_string(), bytes))
    }
}

pub(crate) const TOPIC: &str = "orders";

/// The registry's name in the bridge's configuration.
pub(crate) const NAME: &str = "main";

const STATUSES: [&str; 3] = ["open", "paid", "delivered"];

const SCHEMA: &str = r#"{
  "type": "record", "name": "Order", "namespace": "demo", "fields": [
    {"name": "order", "type": "long"},
    {"name": "status", "type": {"type": "enum", "name": "Status", "symbols": ["open", "paid", "delivered"]}},
    {"name": "amount", "type": {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}},
    {"name": "changed_at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
    {"name": "note", "type": ["null", "string"], "default": null}
  ]
}"#;
