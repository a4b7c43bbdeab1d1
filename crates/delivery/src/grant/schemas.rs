//! The route's rules for schemas of records that clients write.

use sluicegate_backend::command::{Record, SchemaChoice};

/// The route's rules for schemas of records that clients write.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SchemaRules {
    /// `encode`: whether values in JSON get the latest schema of their topic, unless the client names another one.
    pub encodes: bool,
    /// `register_schemas`: whether texts that the client gives are registered.
    pub registers: bool,
}

impl SchemaRules {
    /// Leaves of each record's schemas what the rules allow.
    pub(super) fn apply(self, records: &mut [Record]) {
        for choice in records.iter_mut().flat_map(|record| [&mut record.value_schema, &mut record.key_schema])
        {
            match choice {
                Some(SchemaChoice::Topic) if !self.encodes => *choice = None,
                Some(SchemaChoice::Text { registers, .. }) => *registers = self.registers,
                Some(SchemaChoice::Topic | SchemaChoice::Subject(_) | SchemaChoice::Id(_)) | None => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use sluicegate_protocol::SchemaType;

    use super::*;

    #[test]
    fn route_decides_about_its_topics_schema_and_about_new_ones() {
        let text =
            |registers| SchemaChoice::Text { kind: SchemaType::Avro, text: "\"long\"".into(), registers };
        let named = SchemaChoice::Subject("s".into());
        for (encodes, registers) in [(false, false), (true, false), (false, true)] {
            for (choice, want) in [
                (SchemaChoice::Topic, encodes.then_some(SchemaChoice::Topic)),
                (named.clone(), Some(named.clone())),
                (SchemaChoice::Id(7), Some(SchemaChoice::Id(7))),
                // Nothing that a client sends registers a schema.
                (text(true), Some(text(registers))),
                (text(false), Some(text(registers))),
            ] {
                let (value_schema, key_schema) = (Some(choice.clone()), Some(choice));
                let mut records = [Record { value_schema, key_schema, ..Record::default() }];
                SchemaRules { encodes, registers }.apply(&mut records);
                let [Record { value_schema, key_schema, .. }] = records;
                assert_eq!((&value_schema, &key_schema), (&want, &want), "{encodes} {registers}");
            }
        }
    }
}
