// Embeds the contract's descriptors in src/generated: `npm run generate`.
//
// protobuf-es embeds the serialized file. To decode it, each page would load the descriptors of descriptors, a third of
// the client. Calls of src/describe.ts are shorter than the descriptors themselves.

import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";

import { fromBinary, isFieldSet } from "@bufbuild/protobuf";
import { base64Decode } from "@bufbuild/protobuf/wire";
import {
  type DescriptorProto,
  type EnumDescriptorProto,
  type FieldDescriptorProto,
  FieldDescriptorProtoSchema,
  FileDescriptorProtoSchema,
  FieldDescriptorProto_Label as Label,
  FieldDescriptorProto_Type as Type,
} from "@bufbuild/protobuf/wkt";

const PATH = "src/generated/pubsub_pb.ts";

const generated = readFileSync(PATH, "utf8");
const [fileDesc, serialized] = /fileDesc\("([^"]*)"\)/.exec(generated) ?? [];
assert(fileDesc && serialized, `expected a file without imports in ${PATH}`);
const file = fromBinary(FileDescriptorProtoSchema, base64Decode(serialized));
const text = (value: unknown) => JSON.stringify(value);

/** A call, without arguments at its end that are undefined. */
function call(name: string, ...args: unknown[]): string {
  while (args.at(-1) === undefined) args.pop();
  return `${name}(${args.map(String)})`;
}

function list<T>(items: T[], as: (item: T) => string): string | undefined {
  return items.length ? `[${items.map(as)}]` : undefined;
}

/** Optional fields have a oneof of their own, which is none. */
function isOfOneof(field: FieldDescriptorProto): boolean {
  return isFieldSet(field, FieldDescriptorProtoSchema.field.oneofIndex) && !field.proto3Optional;
}

function field(field: FieldDescriptorProto): string {
  const { name, number, type, typeName, label, proto3Optional } = field;
  assert(!isOfOneof(field) || field.oneofIndex === 0, `expected one oneof beside ${name}`);
  const repeated = label === Label.REPEATED ? label : undefined;
  return call(
    "field",
    text(name),
    number,
    typeName ? text((type === Type.ENUM ? "=" : "") + nameOf(typeName)) : type,
    proto3Optional ? 1 : isOfOneof(field) ? 0 : repeated,
  );
}

/** Fields of commands that the client does not set, as `buf.gen.yaml` leaves out types: each costs bytes in every page. */
const UNUSED = /^Cmd(Kafka|Nats)(Fetch\.filters|Subscribe\.(linger_ms|max_batch_\w+))$/;

/** The name of a message or an enum in the file. */
function nameOf(typeName: string): string {
  const prefix = `.${file.package}.`;
  assert(
    prefix === ".sluicegate.v1." && typeName.startsWith(prefix),
    `expected a type of src/describe.ts, got ${typeName}`,
  );
  return typeName.slice(prefix.length);
}

function message({ name, field: fields, oneofDecl, nestedType }: DescriptorProto): string {
  // Those of optional fields come after the others.
  const hasOneof = fields.some(isOfOneof);
  const oneof = hasOneof ? text(oneofDecl[0]?.name) : undefined;
  const used = fields.filter((field) => !UNUSED.test(`${name}.${field.name}`));
  return call("message", text(name), list(used, field) ?? "[]", oneof, list(nestedType, message));
}

function values({ name, value }: EnumDescriptorProto): string {
  assert(
    value.every(({ number }, index) => number === index),
    `expected the numbers of ${name} from 0 on`,
  );
  return call(
    "values",
    text(name),
    list(value, ({ name }) => text(name)),
  );
}

const { $typeName, name, package: of, syntax } = file;
const rest = text({ $typeName, name, package: of, syntax, dependency: [], extension: [], service: [] });
const literal = `{
  ...${rest},
  messageType: ${list(file.messageType, message)},
  enumType: ${list(file.enumType, values)},
}`;

const edits = [
  [fileDesc, `createFileRegistry(${literal} as unknown as FileDescriptorProto, () => undefined).getFile("${name}")!`],
  ["import { enumDesc, fileDesc, messageDesc }", "import { enumDesc, messageDesc }"],
  [
    'import type { Message } from "@bufbuild/protobuf";',
    `import { createFileRegistry, type Message } from "@bufbuild/protobuf";
import type { FileDescriptorProto } from "@bufbuild/protobuf/wkt";

import { field, message, values } from "../describe.ts";`,
  ],
] as const;
writeFileSync(
  PATH,
  edits.reduce((text, [from, to]) => {
    assert(text.includes(from), `expected ${from.slice(0, 80)} in ${PATH}`);
    return text.replace(from, () => to);
  }, generated),
);
