"""Random Protobuf files with messages, whose JSON is google.protobuf's."""

import json

from google.protobuf import any_pb2, duration_pb2, empty_pb2, field_mask_pb2, json_format, struct_pb2, timestamp_pb2, wrappers_pb2
from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass

from drawing import floats, integers, text

KNOWN = [any_pb2, duration_pb2, empty_pb2, field_mask_pb2, struct_pb2, timestamp_pb2, wrappers_pb2]
KNOWN_TYPES = {f".{message.full_name}": file.DESCRIPTOR.name for file in KNOWN for message in file.DESCRIPTOR.message_types_by_name.values()}
# The file of what is in an Any.
ANY = duration_pb2.DESCRIPTOR.name
SCALARS = ["double", "float", "int64", "uint64", "int32", "fixed64", "fixed32", "bool", "string", "bytes", "uint32", "sfixed32", "sfixed64", "sint32", "sint64"]
KEYS = [name for name in SCALARS if name not in ("double", "float", "bytes")]
# Names whose lowerCamelCase is not obvious, and words of the language.
NAMES = ["user_name", "URL_path", "a1_b2", "_front", "back_", "camelCase", "two__lines", "f_1", "UPPER", "message", "optional", "string", "map", "x"]


def pool():
    """A pool that has the well-known types."""
    known = DescriptorPool()
    for file in KNOWN:
        known.AddSerializedFile(file.DESCRIPTOR.serialized_pb)
    return known


class Files:
    """Files with names of their own, in one pool."""

    def __init__(self, random, prefix):
        self.random = random
        self.prefix = prefix
        self.names = 0
        self.pool = pool()
        # Files that others may import, and the messages and enums in them.
        self.shared = []

    def name(self):
        self.names += 1
        return f"N{self.names}"

    def message_class(self):
        """A message of a new file: any of it, however nested."""
        file = File(self)
        return GetMessageClass(self.pool.FindMessageTypeByName(self.random.choice(file.messages)[1:]))

    def json(self, message):
        shown = json_format.MessageToDict(message, always_print_fields_with_no_presence=True, descriptor_pool=self.pool)
        return json.loads(json.dumps(shown))


class File:
    def __init__(self, files, may_import=True):
        self.files = files
        self.random = random = files.random
        self.messages, self.enums = [], []
        self.proto = FileDescriptorProto(name=f"{files.prefix}/{files.name()}.proto", syntax=random.choice(["proto3", "proto3", "proto2"]))
        self.package = random.choice(["", f"p{files.names}", f"com.example.p{files.names}"])
        self.proto.package = self.package
        self.imported = {}
        if may_import and random.random() < 0.4:
            if not files.shared or random.random() < 0.5:
                files.shared.append(File(files, may_import=random.random() < 0.3))
            self.imported = {name: file for file in files.shared for name in file.messages}
        scope = f".{self.package}" if self.package else ""
        for _ in range(random.randint(1, 3)):
            self.message(self.proto.message_type.add(), scope, 3)
        files.pool.Add(self.proto)

    def import_(self, name):
        if name not in self.proto.dependency:
            self.proto.dependency.append(name)

    def message(self, message, scope, depth):
        random = self.random
        message.name = self.files.name()
        full = f"{scope}.{message.name}"
        if random.random() < 0.4:
            self.enum(message.enum_type.add(), full)
        for _ in range(random.choice([0, 0, 1, 2]) if depth > 0 else 0):
            self.message(message.nested_type.add(), full, depth - 1)
        self.messages.append(full)
        names = random.sample(NAMES, random.randint(0, 8))
        chosen = message.oneof_decl.add(name="choice") if random.random() < 0.3 else None
        optional = []
        for number, name in enumerate(names, 1):
            field = message.field.add(name=name, number=number * random.choice([1, 1, 100]) + 20 * number)
            field.label = FieldDescriptorProto.LABEL_OPTIONAL
            if random.random() < 0.15:
                field.json_name = f"other {number}"
            if chosen and number <= 2:
                self.type(field)
                field.oneof_index = 0
            elif random.random() < 0.2:
                field.label = FieldDescriptorProto.LABEL_REPEATED
                self.type(field)
            elif random.random() < 0.2:
                self.map(message, field, full)
            else:
                self.type(field)
                optional.append(field)
        if chosen and not names:
            del message.oneof_decl[:]
        # Message indexes count the entries of maps, too. Text has them where the maps are: before nested messages, as it is printed.
        nested = sorted(message.nested_type, key=lambda one: not one.options.map_entry)
        del message.nested_type[:]
        message.nested_type.extend(nested)
        for field in optional:
            if self.proto.syntax == "proto2":
                self.proto2(field)
            elif random.random() < 0.3:
                field.proto3_optional = True
                field.oneof_index = len(message.oneof_decl)
                message.oneof_decl.add(name=f"_{field.name}")

    def proto2(self, field):
        if self.random.random() < 0.2 and field.type != FieldDescriptorProto.TYPE_MESSAGE:
            field.label = FieldDescriptorProto.LABEL_REQUIRED
        elif field.type == FieldDescriptorProto.TYPE_STRING:
            field.default_value = 'a "default"'
        elif field.type in (FieldDescriptorProto.TYPE_INT32, FieldDescriptorProto.TYPE_UINT64):
            field.default_value = "42"

    def map(self, message, field, full):
        camel = "".join(part[:1].upper() + part[1:] for part in field.name.split("_"))
        entry = message.nested_type.add(name=f"{camel}Entry")
        entry.options.map_entry = True
        for name, number in [("key", 1), ("value", 2)]:
            entry.field.add(name=name, number=number, label=FieldDescriptorProto.LABEL_OPTIONAL)
        entry.field[0].type = FieldDescriptorProto.Type.Value(f"TYPE_{self.random.choice(KEYS).upper()}")
        self.type(entry.field[1])
        field.label = FieldDescriptorProto.LABEL_REPEATED
        field.type, field.type_name = FieldDescriptorProto.TYPE_MESSAGE, f"{full}.{entry.name}"

    def type(self, field):
        """A scalar, an enum or message of this file, of another, or a well-known type."""
        random = self.random
        kind = random.choice(["scalar", "scalar", "enum", "message", "known", "imported"])
        field.type = FieldDescriptorProto.TYPE_MESSAGE
        if kind == "enum" and self.enums:
            field.type, field.type_name = FieldDescriptorProto.TYPE_ENUM, random.choice(self.enums)
        elif kind == "message" and self.messages:
            field.type_name = random.choice(self.messages)
        elif kind == "imported" and self.imported:
            field.type_name = random.choice(list(self.imported))
            self.import_(self.imported[field.type_name].proto.name)
        elif kind == "known":
            field.type_name = random.choice(list(KNOWN_TYPES))
            self.import_(KNOWN_TYPES[field.type_name])
            if field.type_name == ".google.protobuf.Any":
                self.import_(ANY)
        else:
            field.type = FieldDescriptorProto.Type.Value(f"TYPE_{random.choice(SCALARS).upper()}")

    def enum(self, enum, scope):
        enum.name = self.files.name()
        numbers = [0, *self.random.sample([1, 2, 5, -1, 2**31 - 1, -(2**31)], self.random.randint(0, 3))]
        for number in numbers:
            enum.value.add(name=f"{enum.name}_{'MINUS' if number < 0 else ''}{abs(number)}", number=number)
        self.enums.append(f"{scope}.{enum.name}")


def fill(random, message, depth=4):
    """Sets some of the fields, and those that are required."""
    special = SPECIAL.get(message.DESCRIPTOR.full_name)
    if special:
        special(random, message, depth)
        return message
    for field in message.DESCRIPTOR.fields:
        if not field.is_required and random.random() < 0.3:
            continue
        if field.message_type and field.message_type.GetOptions().map_entry:
            fill_map(random, message, field, depth)
        elif field.is_repeated:
            values = getattr(message, field.name)
            for _ in range(random.choice([0, 1, 3])):
                if field.message_type is None:
                    values.append(scalar(random, field))
                elif depth > 0:
                    fill(random, values.add(), depth - 1)
        elif field.message_type is None:
            setattr(message, field.name, scalar(random, field))
        elif depth > 0:
            part = getattr(message, field.name)
            part.SetInParent()
            fill(random, part, depth - 1)
    return message


def fill_map(random, message, field, depth):
    key, value = (field.message_type.fields_by_name[name] for name in ("key", "value"))
    entries = getattr(message, field.name)
    for _ in range(random.choice([0, 1, 3])):
        if value.message_type is None:
            entries[scalar(random, key)] = scalar(random, value)
        elif depth > 0:
            fill(random, entries[scalar(random, key)], depth - 1)


def scalar(random, field):
    name = FieldDescriptorProto.Type.Name(field.type).removeprefix("TYPE_").lower()
    match name:
        case "double" | "float":
            # The bridge does not tell -0 from 0, which is not written.
            return floats(random, 64 if name == "double" else 32) + 0.0
        case "bool":
            return random.random() < 0.5
        case "string":
            return text(random)
        case "bytes":
            return random.randbytes(random.choice([0, 1, 20]))
        case "enum":
            known = [value.number for value in field.enum_type.values]
            # An open enum can have a value that the schema does not know.
            return random.choice(known if field.enum_type.is_closed or known == [0] else [*known, 12345])
        case _:
            return integers(random, 64 if "64" in name else 32, signed=not name.startswith("u") and not name.startswith("fixed"))


def timestamp(random, message, _):
    message.seconds = random.choice([0, -62135596800, 253402300799, random.randint(-(10**10), 10**10)])
    message.nanos = nanos(random)


def duration(random, message, _):
    sign = random.choice([1, -1])
    message.seconds = sign * random.choice([0, 315576000000, random.randint(0, 10**6)])
    message.nanos = sign * nanos(random)


def wrapper(random, message, _):
    """Finite, as the bridge has no text for other numbers in wrappers."""
    message.value = floats(random, 32, finite=True) + 0.0


def nanos(random):
    return random.choice([0, 5, 120_000_000, 1_000, 999_999_999])


def value(random, message, depth):
    match random.choice(["null", "number", "string", "bool"] + ["struct", "list"] * (depth > 0)):
        case "null":
            message.null_value = 0
        case "number":
            message.number_value = floats(random, 64, finite=True)
        case "string":
            message.string_value = text(random)
        case "bool":
            message.bool_value = True
        case "struct":
            message.struct_value.SetInParent()
            struct(random, message.struct_value, depth - 1)
        case _:
            message.list_value.SetInParent()
            values(random, message.list_value, depth - 1)


def struct(random, message, depth):
    for _ in range(random.choice([0, 1, 3])):
        value(random, message.fields[text(random)], depth)


def values(random, message, depth):
    for _ in range(random.choice([0, 1, 3])):
        value(random, message.values.add(), depth)


def mask(random, message, _):
    message.paths.extend(random.sample(["a", "a_b", "a.b_c", "user.display_name"], random.randint(0, 3)))


def anything(random, message, _):
    message.Pack(fill(random, duration_pb2.Duration()))


SPECIAL = {
    "google.protobuf.FloatValue": wrapper,
    "google.protobuf.DoubleValue": wrapper,
    "google.protobuf.Timestamp": timestamp,
    "google.protobuf.Duration": duration,
    "google.protobuf.Value": value,
    "google.protobuf.Struct": struct,
    "google.protobuf.ListValue": values,
    "google.protobuf.FieldMask": mask,
    "google.protobuf.Any": anything,
}
