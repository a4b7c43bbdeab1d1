//! JSON Schema: values that are JSON, with the schema's opinion of them.
