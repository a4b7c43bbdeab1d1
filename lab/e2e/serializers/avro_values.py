"""Random Avro schemas with values for fastavro, and the JSON that Sluicegate promises for them (docs/reference/schemas.md)."""

import base64
import datetime
import json
import math
import struct
import uuid
from decimal import Decimal

from drawing import floats, integers, text

SAFE = 2**53 - 1
EPOCH = datetime.date(1970, 1, 1).toordinal()


class Scalar:
    """A type without parts, as `type` or with more attributes. Its JSON has one of `kinds`, by which a union is plain or not."""

    def __init__(self, name, kinds, draw, shown=lambda value: value, **attributes):
        self.branch = name
        self.kinds = kinds
        self.draw = draw
        self.json = shown
        self.attributes = attributes

    def render(self, _):
        return {"type": self.branch, **self.attributes} if self.attributes else self.branch


class Array:
    branch, kinds = "array", {"array"}

    def __init__(self, items):
        self.items = items

    def render(self, document):
        return {"type": "array", "items": self.items.render(document)}

    def draw(self, random):
        return [self.items.draw(random) for _ in range(random.choice([0, 0, 1, 2, 5]))]

    def json(self, value):
        return [self.items.json(item) for item in value]


class Map:
    branch, kinds = "map", {"object"}

    def __init__(self, values):
        self.values = values

    def render(self, document):
        return {"type": "map", "values": self.values.render(document)}

    def draw(self, random):
        return {text(random): self.values.draw(random) for _ in range(random.choice([0, 1, 3]))}

    def json(self, value):
        return {key: self.values.json(item) for key, item in value.items()}


class Union:
    """Its values are those that fastavro takes for an exact branch: a pair of the branch's name and the value."""

    branch, kinds = "union", {"any"}

    def __init__(self, branches):
        self.branches = {branch.branch: branch for branch in branches}
        others = [branch.kinds for branch in self.branches.values() if branch.branch != "null"]
        self.plain = sum(map(len, others)) == len(set().union(*others))

    def render(self, document):
        return [branch.render(document) for branch in self.branches.values()]

    def draw(self, random):
        name = random.choice(list(self.branches))
        return name, self.branches[name].draw(random)

    def json(self, value):
        name, value = value
        shown = self.branches[name].json(value)
        return shown if self.plain or name == "null" else {name: shown}


class Named:
    """A record, an enum or a fixed. One in a document of its own is a schema that others refer to."""

    def __init__(self, schemas, document, kinds):
        self.branch = f"{schemas.random.choice(['a', 'a.b', 'com.example'])}.{schemas.name()}"
        self.document = document
        self.kinds = kinds
        document.named.append(self)

    def render(self, document):
        """The definition where it is met first in its own document, elsewhere the name."""
        if self.document is not document or self in document.rendered:
            if self.document is not document:
                document.references[self.branch] = self.document
            return self.branch
        document.rendered.append(self)
        namespace, name = self.branch.rsplit(".", 1)
        spelt = {"name": name, "namespace": namespace} if len(document.rendered) % 2 else {"name": self.branch}
        return {**self.definition(document), **spelt}


class Record(Named):
    def __init__(self, schemas, document, depth):
        super().__init__(schemas, document, {"object"})
        random = schemas.random
        self.fields = {schemas.name(): schemas.node(document, depth - 1) for _ in range(random.randint(0, 6))}
        if random.random() < 0.2:
            self.fields["next"] = Union([NULL, self])

    def definition(self, document):
        fields = [{"name": name, "type": node.render(document)} for name, node in self.fields.items()]
        return {"type": "record", "fields": fields}

    def draw(self, random):
        return {name: node.draw(random) for name, node in self.fields.items()}

    def json(self, value):
        return {name: node.json(value[name]) for name, node in self.fields.items()}


class Enum(Named):
    def __init__(self, schemas, document):
        super().__init__(schemas, document, {"string"})
        self.symbols = [schemas.name().upper() for _ in range(schemas.random.randint(1, 5))]

    def definition(self, _):
        return {"type": "enum", "symbols": self.symbols}

    def draw(self, random):
        return random.choice(self.symbols)

    def json(self, value):
        return value


class Fixed(Named):
    def __init__(self, schemas, document, size, kinds, draw, shown, **attributes):
        super().__init__(schemas, document, kinds)
        self.attributes = {"type": "fixed", "size": size, **attributes}
        self.draw = draw
        self.json = shown

    def definition(self, _):
        return self.attributes


class Document:
    """What is registered under one subject."""

    def __init__(self):
        self.named = []
        self.rendered = []
        self.references = {}
        self.root = None

    def text(self):
        self.rendered.clear()
        schema = self.root.render(self)
        return json.dumps({"type": schema} if isinstance(schema, str) else schema)


class Schemas:
    """Schemas with names of their own."""

    def __init__(self, random):
        self.random = random
        self.names = 0
        self.shared = []

    def name(self):
        self.names += 1
        return f"{self.random.choice('xyz_')}{self.names}"

    def document(self):
        """Its root is no mere name, which Confluent's serializer does not take."""
        document = Document()
        root = self.node(document, 4) if self.random.random() < 0.4 else Record(self, document, 4)
        is_name = isinstance(root, Named) and root.document is not document
        document.root = Union([root]) if is_name else root
        return document

    def node(self, document, depth, union=True):
        random = self.random
        kinds = ["scalar", "scalar", "logical", "logical", "enum", "fixed"]
        if depth > 0:
            kinds += ["array", "map", "record", "record", "again"] + ["union"] * 3 * union
        match random.choice(kinds):
            case "scalar":
                return random.choice(SCALARS)
            case "logical":
                return self.logical(document)
            case "array":
                return Array(self.node(document, depth - 1))
            case "map":
                return Map(self.node(document, depth - 1))
            case "union":
                branches = [self.node(document, depth - 1, union=False) for _ in range(random.randint(1, 4))]
                return Union([NULL, *branches] if random.random() < 0.5 else branches)
            case "again":
                whole = [named for named in document.named if not isinstance(named, Record) or hasattr(named, "whole")]
                return random.choice(whole + self.shared or SCALARS)
            case kind:
                return self.elsewhere(kind, depth) if random.random() < 0.15 else self.named(document, kind, depth)

    def elsewhere(self, kind, depth):
        document = Document()
        document.root = self.named(document, kind, depth)
        self.shared.append(document.root)
        return document.root

    def named(self, document, kind, depth):
        if kind == "record":
            record = Record(self, document, depth)
            record.whole = True
            return record
        if kind == "enum":
            return Enum(self, document)
        size = self.random.choice([0, 1, 16, 20])
        return Fixed(self, document, size, {"string"}, lambda random: random.randbytes(size), base64_text)

    def logical(self, document):
        random = self.random
        match random.choice(["plain", "plain", "decimal", "fixed decimal", "uuid", "duration"]):
            case "plain":
                return random.choice(LOGICAL)
            case "decimal":
                precision = random.randint(1, 30)
                attributes = {"logicalType": "decimal", "precision": precision}
                scale = random.randint(0, precision)
                if scale or random.random() < 0.5:
                    attributes["scale"] = scale
                return Scalar("bytes", {"string"}, decimals(precision, scale), decimal_text, **attributes)
            case "fixed decimal":
                precision = random.randint(1, 18)
                scale = random.randint(0, precision)
                attributes = {"logicalType": "decimal", "precision": precision, "scale": scale}
                return Fixed(self, document, random.randint(8, 12), {"string"}, decimals(precision, scale), decimal_text, **attributes)
            case "uuid":
                shown = lambda value: str(uuid.UUID(bytes=value))
                return Fixed(self, document, 16, {"string"}, lambda random: random.randbytes(16), shown, logicalType="uuid")
            case _:
                shown = lambda value: dict(zip(["months", "days", "millis"], struct.unpack("<III", value)))
                return Fixed(self, document, 12, {"object"}, lambda random: random.randbytes(12), shown, logicalType="duration")


def base64_text(value):
    return base64.b64encode(value).decode()


def long_json(value):
    return value if abs(value) <= SAFE else str(value)


def float_json(value):
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def float32_json(value):
    """The shortest decimal that is this float of 32 bits."""
    if not math.isfinite(value):
        return float_json(value)
    return next(float(short) for digits in range(1, 18) if struct.pack("f", float(short := f"{value:.{digits}g}")) == struct.pack("f", value))


def decimals(precision, scale):
    def draw(random):
        digits = tuple(random.randint(0, 9) for _ in range(random.randint(1, precision)))
        negative = random.random() < 0.5 and any(digits)
        return Decimal((int(negative), digits, -scale))

    return draw


def decimal_text(value):
    return f"{value:f}"


def big_decimal(random):
    """Avro's bytes of the unscaled value, and its scale. fastavro does not know the type, and writes the bytes."""
    unscaled = random.randint(-(10**20), 10**20)
    number = unscaled.to_bytes(unscaled.bit_length() // 8 + 1, "big", signed=True)
    return bytes([len(number) * 2]) + number + bytes([random.randint(0, 20) * 2])


def big_decimal_text(value):
    scale = value[-1] // 2
    unscaled = int.from_bytes(value[1:-1], "big", signed=True)
    return decimal_text(Decimal((int(unscaled < 0), tuple(map(int, str(abs(unscaled)))), -scale)))


def date_text(days):
    return datetime.date.fromordinal(EPOCH + days).isoformat() if 0 < EPOCH + days <= datetime.date.max.toordinal() else None


def time_text(value, unit):
    """A time of day, with three, six or nine digits behind the point."""
    seconds, part = divmod(value, unit)
    if not 0 <= seconds < 86400:
        return None
    digits = f"{part * (10**9 // unit):09}"
    digits = digits.removesuffix("000").removesuffix("000")
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}.{digits}"


def date(days):
    return date_text(days) or days


def time(unit):
    return lambda value: time_text(value, unit) or long_json(value)


def timestamp(unit, zone):
    def shown(value):
        days, rest = divmod(value, 86400 * unit)
        day = date_text(days)
        return f"{day}T{time_text(rest, unit)}{zone}" if day else long_json(value)

    return shown


def times(unit, zone=None):
    """Mostly in range."""

    def draw(random):
        if random.random() < 0.1:
            return random.randint(-(2**31), 2**31 - 1) if unit == 1000 and zone is None else random.randint(-(2**63), 2**63 - 1)
        seconds = random.randrange(86400) if zone is None else random.randint(-(2**33), 2**33)
        return seconds * unit + random.choice([0, random.randrange(unit), random.randrange(unit // 1000) * 1000])

    return draw


NULL = Scalar("null", set(), lambda _: None)
LONG = {"number", "string"}
SCALARS = [
    NULL,
    Scalar("boolean", {"boolean"}, lambda random: random.random() < 0.5),
    Scalar("int", {"number"}, lambda random: integers(random, 32)),
    Scalar("long", LONG, lambda random: integers(random, 64), long_json),
    Scalar("float", LONG, lambda random: floats(random, 32), float32_json),
    Scalar("double", LONG, lambda random: floats(random, 64), float_json),
    Scalar("bytes", {"string"}, lambda random: random.randbytes(random.choice([0, 1, 20])), base64_text),
    Scalar("string", {"string"}, text),
]
LOGICAL = [
    Scalar("int", LONG, lambda random: random.choice([integers(random, 32), random.randint(-719162, 2932896)]), date, logicalType="date"),
    Scalar("int", LONG, times(10**3), time(10**3), logicalType="time-millis"),
    Scalar("long", LONG, times(10**6), time(10**6), logicalType="time-micros"),
    *(
        Scalar("long", LONG, times(unit, zone), timestamp(unit, zone), logicalType=f"{local}timestamp-{name}")
        for local, zone in [("", "Z"), ("local-", "")]
        for name, unit in [("millis", 10**3), ("micros", 10**6), ("nanos", 10**9)]
    ),
    Scalar("string", {"string"}, lambda random: str(uuid.UUID(int=random.getrandbits(128))), logicalType="uuid"),
    Scalar("bytes", {"string"}, big_decimal, big_decimal_text, logicalType="big-decimal"),
    # Unknown, or not for this type: ignored.
    Scalar("string", {"string"}, text, logicalType="colour"),
    Scalar("long", LONG, lambda random: integers(random, 64), long_json, logicalType="date"),
    Scalar("int", {"number"}, lambda random: integers(random, 32), logicalType="timestamp-millis"),
]
