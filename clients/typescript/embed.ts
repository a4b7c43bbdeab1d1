// Embeds the contract's descriptors in src/generated: `npm run generate`.
//
// protobuf-es embeds the serialized file, and takes a half of the client to make descriptors of it. src/describe.ts makes
// them of what stands here.

import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";

import { fromBinary, isFieldSet } from "@bufbuild/protobuf";
import { protoCamelCase } from "@bufbuild/protobuf/reflect";
import { base64Decode } from "@bufbuild/protobuf/wire";
import {
  type DescriptorProto,
  type FieldDescriptorProto,
  FieldDescriptorProtoSchema,
  FileDescriptorProtoSchema,
  FieldDescriptorProto_Label as Label,
  FieldDescriptorProto_Type as Type,
} from "@bufbuild/protobuf/wkt";
import type { Field, Kind, Message } from "./src/describe.ts";

const PATH = "src/generated/pubsub_pb.ts";

const generated = readFileSync(PATH, "utf8");
const [fileDesc, serialized] = /fileDesc\("([^"]*)"\)/.exec(generated) ?? [];
assert(fileDesc && serialized, `expected a file without imports in ${PATH}`);
const file = fromBinary(FileDescriptorProtoSchema, base64Decode(serialized));

function kindOf(field: FieldDescriptorProto): Kind | undefined {
  if (field.label === Label.REPEATED) return 3;
  if (field.proto3Optional) return 1;
  if (!isFieldSet(field, FieldDescriptorProtoSchema.field.oneofIndex)) return undefined;
  assert.equal(field.oneofIndex, 0, `expected no other oneof than the one before ${field.name}`);
  return 0;
}

function fieldOf(field: FieldDescriptorProto): Field {
  const { name, number, typeName } = field;
  // Enums are numbers on the wire, too.
  const scalar = field.type === Type.ENUM ? Type.INT32 : field.type;
  const type = scalar === Type.MESSAGE ? typeName.replace(`.${file.package}.`, "") : scalar;
  return short([protoCamelCase(name), number, type, kindOf(field)]);
}

function messageOf({ name, field: fields, oneofDecl, nestedType: nested }: DescriptorProto): Message {
  // Behind it are those that stand for optional fields.
  const [oneof] = oneofDecl.filter(({ name }) => !name.startsWith("_"));
  return short([name, fields.map(fieldOf), oneof?.name, nested.length ? nested.map(messageOf) : undefined]);
}

/** Without members at its end that are undefined. */
function short<T extends unknown[]>(items: T): T {
  while (items.at(-1) === undefined) items.pop();
  return items;
}

const messages = JSON.stringify(file.messageType.map(messageOf)).replaceAll("null", "undefined");

const edits = [
  [fileDesc, `file(${messages})`],
  [
    'import { enumDesc, fileDesc, messageDesc } from "@bufbuild/protobuf/codegenv2";',
    'import { messageDesc } from "@bufbuild/protobuf/codegenv2";',
  ],
  ["import type { GenEnum, GenFile,", "import type { GenFile,"],
  [
    'import type { Message } from "@bufbuild/protobuf";',
    'import type { Message } from "@bufbuild/protobuf";\n\nimport { file } from "../describe.ts";',
  ],
  // The client has no use for those of enums.
  [/\n\/\*\*\n \* Describes the enum [^;]*;\n/g, ""],
] as const;
writeFileSync(
  PATH,
  edits.reduce((text, [from, to]) => {
    const edited = text.replace(from, () => to);
    assert.notEqual(edited, text, `expected ${from} in ${PATH}`);
    return edited;
  }, generated),
);
