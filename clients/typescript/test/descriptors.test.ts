import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { test } from "node:test";

import { createFileRegistry, type DescMessage, fromBinary, ScalarType } from "@bufbuild/protobuf";
import { FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";

import { file_pubsub } from "../src/generated/pubsub_pb.ts";

/** Properties that decide how each field is encoded, and its name. */
function fields(desc: DescMessage) {
  return desc.fields.map((field) => {
    const { localName, number, fieldKind, presence, scalar, utf8Validation, oneof, message } = field;
    const list = field.fieldKind === "list" && { kind: field.listKind, packed: field.packed };
    return {
      ...{ localName, number, fieldKind, presence, scalar, utf8Validation, list },
      ...{ oneof: oneof?.localName, message: message?.typeName },
      // Enums are numbers.
      ...(fieldKind === "enum" && { fieldKind: "scalar", scalar: ScalarType.INT32 }),
    };
  });
}

test("the embedded descriptors are those of the contract", () => {
  const image = execFileSync("npx", ["buf", "build", "../../proto", "--as-file-descriptor-set", "-o", "-"]);
  const contract = createFileRegistry(fromBinary(FileDescriptorSetSchema, image));
  let messages = 0;
  const check = (type: DescMessage) => {
    messages += 1;
    // Fields of excluded types are missing.
    const names = new Set(type.fields.map(({ localName }) => localName));
    const expected = contract.getMessage(type.typeName);
    assert(expected, type.typeName);
    const known = fields(expected).filter(({ localName }) => names.has(localName));
    assert.deepEqual(fields(type), known, type.typeName);
    const members = ({ members }: DescMessage) => members.map(({ localName }) => localName);
    assert.deepEqual(
      members(type),
      members(expected).filter((name) => members(type).includes(name)),
    );
    type.nestedMessages.forEach(check);
  };
  file_pubsub.messages.forEach(check);
  assert.ok(messages > 40, `${messages} messages`);
});
