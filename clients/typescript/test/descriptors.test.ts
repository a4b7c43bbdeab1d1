import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { test } from "node:test";

import { createFileRegistry, type DescMessage, fromBinary } from "@bufbuild/protobuf";
import { nestedTypes } from "@bufbuild/protobuf/reflect";
import { FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";

import { file_pubsub } from "../src/generated/pubsub_pb.ts";

/** Properties that decide how each field is encoded, and its names. */
function fields(desc: DescMessage) {
  return desc.fields.map((field) => {
    const {
      name,
      localName,
      number,
      fieldKind,
      presence,
      scalar,
      utf8Validation,
      oneof,
      message,
      enum: values,
    } = field;
    const list = field.fieldKind === "list" && { kind: field.listKind, packed: field.packed };
    return {
      ...{ name, localName, number, fieldKind, presence, scalar, utf8Validation, list },
      ...{ oneof: oneof?.name, message: message?.typeName, values: values?.typeName },
    };
  });
}

test("the embedded descriptors are those of the contract", () => {
  const image = execFileSync("npx", ["buf", "build", "../../proto", "--as-file-descriptor-set", "-o", "-"]);
  const contract = createFileRegistry(fromBinary(FileDescriptorSetSchema, image));
  let messages = 0;
  for (const type of nestedTypes(file_pubsub)) {
    if (type.kind === "message") {
      messages += 1;
      // Fields of excluded types are missing.
      const embedded = fields(type);
      const names = new Set(embedded.map(({ name }) => name));
      const expected = contract.getMessage(type.typeName);
      assert(expected, type.typeName);
      assert.deepEqual(
        embedded,
        fields(expected).filter(({ name }) => names.has(name)),
        type.typeName,
      );
    } else if (type.kind === "enum") {
      const values = contract.getEnum(type.typeName)?.values.map(({ name, number }) => ({ name, number }));
      assert.deepEqual(
        type.values.map(({ name, number }) => ({ name, number })),
        values,
      );
    }
  }
  assert.ok(messages > 40, `${messages} messages`);
});
