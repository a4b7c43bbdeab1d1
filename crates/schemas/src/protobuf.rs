//! Protobuf schemas: messages and their JSON (Protocol Buffers, "ProtoJSON Format").
