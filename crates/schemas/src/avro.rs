//! Avro schemas (Apache Avro 1.12, "Specification"): binary values and their JSON.
