"""Random JSON Schemas with values that they take. Their JSON is the value itself."""

import json
from urllib.parse import quote

from drawing import floats, integers, text


class Schemas:
    def __init__(self, random, names_dialect):
        self.random = random
        self.names_dialect = names_dialect
        self.names = 0
        self.shared = []
        # Of names of references. A relative one in a schema with an absolute name would be another.
        self.folder = random.choice(["", "https://example.com/schemas/"])

    def document(self):
        document = Document(self)
        schema, document.draw = self.node(document, 4)
        document.schema = schema if isinstance(schema, dict) else {}
        return document

    def name(self):
        self.names += 1
        return f"{self.random.choice(['x', 'Ünï', 'a b', 'a/b', 'a~b'])}{self.names}"

    def node(self, document, depth):
        """A schema, and what draws a value for it."""
        random = self.random
        kinds = ["string", "integer", "number", "boolean", "null", "enum", "const", "any"]
        if depth > 0:
            kinds += ["object"] * 5 + ["array", "array", "oneOf", "anyOf", "allOf", "types", "definition", "reference", "reference"]
        match random.choice(kinds):
            case "string":
                least = random.randint(0, 3)
                return {"type": "string", "minLength": least}, lambda random: text(random) + "€" * least
            case "integer":
                return {"type": "integer", "minimum": -(2**63), "maximum": 2**64 - 1}, lambda random: integers(random, 64, signed=random.random() < 0.5)
            case "number":
                return {"type": "number"}, lambda random: floats(random, 64, finite=True)
            case "boolean":
                return {"type": "boolean"}, lambda random: random.random() < 0.5
            case "null":
                return {"type": "null"}, lambda _: None
            case "enum":
                choices = [None, 5, "five", {"a": [1]}, [], False]
                return {"enum": choices}, lambda random: random.choice(choices)
            case "const":
                return {"const": {"x": ["y"]}}, lambda _: {"x": ["y"]}
            case "any":
                return random.choice([True, {}]), lambda random: random.choice([text(random), integers(random, 64), None, [{}]])
            case "object":
                return self.object(document, depth)
            case "array":
                items, draw = self.node(document, depth - 1)
                return {"type": "array", "items": items, "maxItems": 5}, lambda random: [draw(random) for _ in range(random.choice([0, 1, 5]))]
            case "oneOf":
                schema, draw = self.object(document, depth)
                return {"oneOf": [{"type": "null"}, schema]}, lambda random: random.choice([None, draw(random)])
            case "anyOf":
                branches = [self.node(document, depth - 1) for _ in range(random.randint(1, 3))]
                return {"anyOf": [schema for schema, _ in branches]}, lambda random: random.choice(branches)[1](random)
            case "allOf":
                schema, draw = self.node(document, depth - 1)
                return {"allOf": [schema, True]}, draw
            case "types":
                return {"type": ["string", "null"], "pattern": "^[a-f0-9]*$"}, lambda random: random.choice([None, "c0ffee"])
            case "definition":
                name = self.name()
                schema, draw = self.node(document, depth - 1)
                document.definitions[name] = schema
                return {"$ref": f"#/definitions/{pointer(name)}"}, draw
            case _:
                return self.reference(document, depth)

    def object(self, document, depth):
        random = self.random
        nodes = {self.name(): self.node(document, depth - 1) for _ in range(random.randint(0, 5))}
        required = [name for name in nodes if random.random() < 0.5]
        schema = {"type": "object", "properties": {name: schema for name, (schema, _) in nodes.items()}}
        if required or random.random() < 0.5:
            schema["required"] = required
        if random.random() < 0.5:
            schema["additionalProperties"] = False

        def draw(random):
            return {name: draw(random) for name, (_, draw) in nodes.items() if name in required or random.random() < 0.5}

        return schema, draw

    def reference(self, document, depth):
        """A schema of another subject, or a part of one."""
        random = self.random
        if self.shared and random.random() < 0.5:
            other = random.choice(self.shared)
        else:
            other = Document(self)
            schema, other.draw = self.object(other, depth - 1)
            part, other.draw_part = self.node(other, depth - 1)
            other.definitions["part"] = part
            other.schema = schema
            self.names += 1
            other.name = f"{self.folder}other{self.names}.json"
            self.shared.append(other)
        document.references[other.name] = other
        if random.random() < 0.5:
            return {"$ref": other.name}, other.draw
        return {"$ref": f"{other.name}#/definitions/part"}, other.draw_part


class Document:
    """What is registered under one subject."""

    def __init__(self, schemas):
        named = schemas.names_dialect or schemas.random.random() < 0.5
        self.dialect = {"$schema": "http://json-schema.org/draft-07/schema#"} if named else {}
        self.definitions = {}
        self.references = {}

    def text(self):
        schema = {**self.dialect, **self.schema}
        if self.definitions:
            schema["definitions"] = self.definitions
        # Draft 7 ignores what stands beside a reference.
        if "$ref" in schema:
            schema = {**schema, "allOf": [{"$ref": schema.pop("$ref")}]}
        return json.dumps(schema)


def pointer(name):
    """A name as a fragment of a URI (RFC 6901, section 6)."""
    return quote(name.replace("~", "~0").replace("/", "~1"), safe="~")
