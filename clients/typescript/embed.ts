// Embeds the contract's descriptors in src/generated as an object: `npm run generate`.
//
// protobuf-es embeds the serialized file. To decode it, each page would load the descriptors of descriptors, a third of
// the client.

import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";

import { fromBinary } from "@bufbuild/protobuf";
import { base64Decode } from "@bufbuild/protobuf/wire";
import { FileDescriptorProtoSchema } from "@bufbuild/protobuf/wkt";

const PATH = "src/generated/pubsub_pb.ts";
/** Parts of a descriptor that no registry reads. */
const UNREAD = new Set([
  "reservedRange",
  "reservedName",
  "extensionRange",
  "publicDependency",
  "weakDependency",
  "optionDependency",
]);

const generated = readFileSync(PATH, "utf8");
const [call, serialized] = /fileDesc\("([^"]*)"\)/.exec(generated) ?? [];
assert(call && serialized, `expected a file without imports in ${PATH}`);
const file = fromBinary(FileDescriptorProtoSchema, base64Decode(serialized));
const isUnread = (key: string, value: unknown) => UNREAD.has(key) || (key === "$typeName" && value !== file.$typeName);
const literal = JSON.stringify(file, (key, value) => (isUnread(key, value) ? undefined : value));

const edits = [
  [call, `createFileRegistry(${literal} as unknown as FileDescriptorProto, () => undefined).getFile("${file.name}")!`],
  ["import { enumDesc, fileDesc, messageDesc }", "import { enumDesc, messageDesc }"],
  [
    'import type { Message } from "@bufbuild/protobuf";',
    `import { createFileRegistry, type Message } from "@bufbuild/protobuf";
import type { FileDescriptorProto } from "@bufbuild/protobuf/wkt";`,
  ],
] as const;
writeFileSync(
  PATH,
  edits.reduce((text, [from, to]) => {
    assert(text.includes(from), `expected ${from.slice(0, 80)} in ${PATH}`);
    return text.replace(from, () => to);
  }, generated),
);
