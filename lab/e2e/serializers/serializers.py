"""Confluent's own serializers, as judges: they write what Sluicegate reads, and read what it writes.

    serializers.py write REGISTRY FORMAT --schemas N --values N --seed N [--apicurio]
    serializers.py read REGISTRY

`write` registers random schemas, some of which refer to others, and prints values: a JSON object a line, with the record's `field` ("key" or "value"),
its `data` in base64, its `headers` (base64 by name) and the JSON `expected` of Sluicegate. `read` takes such lines with `other`, the data and headers
that Sluicegate made of that JSON, and prints for each what is wrong with it: null, or a sentence. With `--apicurio`, it writes what
Apicurio's registry can have: that has no GUIDs, knows JSON Schemas by their `$schema` only, and refuses some files of Protobuf.
"""

import argparse
import base64
import json
import random
import sys

import fastavro.read
from confluent_kafka.schema_registry import (
    Schema,
    SchemaReference,
    SchemaRegistryClient,
    SchemaRegistryError,
    dual_schema_id_deserializer,
    header_schema_id_serializer,
    prefix_schema_id_serializer,
)
from confluent_kafka.schema_registry.avro import AvroDeserializer, AvroSerializer
from confluent_kafka.schema_registry.json_schema import JSONDeserializer, JSONSerializer
from confluent_kafka.schema_registry.protobuf import ProtobufDeserializer, ProtobufSerializer
from confluent_kafka.schema_registry.serde import SchemaId
from confluent_kafka.serialization import MessageField, SerializationContext
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.message_factory import GetMessageClass

import avro_values
import json_values
import protobuf_values

BY_TOPIC = {"subject.name.strategy.type": "TOPIC"}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=["write", "read"])
    parser.add_argument("registry")
    parser.add_argument("format", nargs="?", choices=["avro", "protobuf", "json"])
    parser.add_argument("--schemas", type=int, default=100)
    parser.add_argument("--values", type=int, default=10)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--apicurio", action="store_true")
    arguments = parser.parse_args()
    client = SchemaRegistryClient({"url": arguments.registry})
    if arguments.what == "read":
        judge = Judge(client)
        for line in sys.stdin:
            print(json.dumps(judge.verdict(json.loads(line))))
        return
    write = {"avro": write_avro, "protobuf": write_protobuf, "json": write_json}[arguments.format]
    for schema in range(arguments.schemas):
        topic = f"{arguments.format}-{arguments.seed}-{schema}"
        draw = random.Random(topic)
        ways = [prefix_schema_id_serializer] if arguments.apicurio else [prefix_schema_id_serializer, header_schema_id_serializer]
        conf = {**BY_TOPIC, "schema.id.serializer": draw.choice(ways)}
        context = SerializationContext(topic, draw.choice([MessageField.KEY, MessageField.VALUE]))
        serialize, values = write(draw, client, topic, conf, arguments)
        for _ in range(arguments.values):
            value, expected = values()
            # No value at all is Kafka's, not the serializer's.
            if value is not None:
                context.headers = {}
                try:
                    data = encoded(serialize(value, context))
                except SchemaRegistryError:
                    if not arguments.apicurio:
                        raise
                    break
                headers = {name: encoded(header) for name, header in context.headers.items()}
                record = {"format": arguments.format, "topic": topic, "field": context.field, "data": data, "headers": headers}
                print(json.dumps({**record, "expected": expected}))


def write_avro(draw, client, topic, conf, _):
    """A serializer, and what draws a value for it and the JSON of that."""
    document = avro_values.Schemas(draw).document()

    def values():
        value = document.root.draw(draw)
        return value, document.root.json(value)

    return AvroSerializer(client, registered(client, topic, "AVRO", document), conf=conf), values


def write_json(draw, client, topic, conf, arguments):
    document = json_values.Schemas(draw, arguments.apicurio).document()
    return JSONSerializer(registered(client, topic, "JSON", document), client, conf=conf), lambda: (document.draw(draw),) * 2


def write_protobuf(draw, client, topic, conf, _):
    files = protobuf_values.Files(draw, topic)
    message_class = files.message_class()

    def values():
        message = protobuf_values.fill(draw, message_class())
        return message, files.json(message)

    return ProtobufSerializer(message_class, client, conf), values


def registered(client, topic, kind, document):
    """The document's schema, after those that it refers to are registered."""
    text, references = document.text(), []
    for name, other in document.references.items():
        subject = f"{topic}/{name}"
        client.register_schema(subject, registered(client, topic, kind, other))
        references.append(SchemaReference(name, subject, 1))
    return Schema(text, kind, references)


class Judge:
    """Compares what Confluent's deserializers read."""

    def __init__(self, client):
        # Python's dates know the years 1 to 9999 only: dates and times are compared as numbers.
        for name in [name for name in fastavro.read.LOGICAL_READERS if name.startswith(("int-", "long-"))]:
            del fastavro.read.LOGICAL_READERS[name]
        self.client = client
        conf = BY_TOPIC
        self.deserializers = {"avro": AvroDeserializer(client, conf=conf, return_record_name=True), "json": JSONDeserializer(None, schema_registry_client=client, conf=conf)}
        self.messages = {}

    def verdict(self, record):
        theirs, ours = self.read(record, record), self.read(record, record["other"])
        return None if same(theirs, ours) else f"Confluent's reads as {theirs!r}, Sluicegate's as {ours!r}"

    def read(self, record, part):
        data = base64.b64decode(part["data"])
        headers = {name: base64.b64decode(header) for name, header in part["headers"].items()}
        context = SerializationContext(record["topic"], record["field"], headers)
        try:
            if record["format"] == "protobuf":
                message = ProtobufDeserializer(self.message_class(data, context), BY_TOPIC, self.client)(data, context)
                return message.SerializeToString(deterministic=True)
            return self.deserializers[record["format"]](data, context)
        except Exception as error:
            # Some it does not read, such as those of less than six bytes: they are compared as bytes.
            return f"{error!r} for {data!r}"

    def message_class(self, data, context):
        found = SchemaId("PROTOBUF")
        dual_schema_id_deserializer(data, context, found)
        key = (found.id, found.guid, tuple(found.message_indexes))
        if key not in self.messages:
            if found.id is None:
                schema = self.client.get_schema_by_guid(str(found.guid), "serialized")
            else:
                schema = self.client.get_schema(found.id, fmt="serialized")
            pool = protobuf_values.pool()
            self.add(pool, "schema.proto", schema, set())
            first, *rest = found.message_indexes
            messages = pool.FindFileByName("schema.proto").message_types_by_name
            message = list(messages.values())[first]
            for index in rest:
                message = message.nested_types[index]
            self.messages[key] = GetMessageClass(message)
        return self.messages[key]

    def add(self, pool, name, schema, added):
        for reference in schema.references or []:
            if reference.name not in added:
                added.add(reference.name)
                other = self.client.get_version(reference.subject, reference.version, fmt="serialized")
                self.add(pool, reference.name, other.schema, added)
        proto = FileDescriptorProto.FromString(base64.b64decode(schema.schema_str))
        proto.name = name
        pool.Add(proto)


def same(one, other):
    """Whether two values are equal, and of the same types. NaN is NaN."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other or one != one and other != other


def encoded(data):
    return base64.b64encode(data).decode()


if __name__ == "__main__":
    main()
