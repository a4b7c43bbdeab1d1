// Descriptors of the contract's messages: no more than reading and writing them takes. The registry of protobuf-es, which
// makes them of serialized ones, is larger than all of them, in every page.

import type { GenFile } from "@bufbuild/protobuf/codegenv2";

/** @internal A name, the field's number, and the number of a scalar's type or the name of a message. */
export type Field = [name: string, number: number, type: number | string, kind?: Kind];

/** @internal A member of the message's oneof, an optional field, or a repeated one. */
export type Kind = 0 | 1 | 3;

/** @internal A message, its oneof if it has one, and the messages within it. */
export type Message = [name: string, fields: Field[], oneof?: string, nested?: Message[]];

/** @internal Describes the messages of a file, as protobuf-es does. */
export function file(messages: Message[]): GenFile {
  const named = new Map<unknown, object>();
  const describe = ([name, fields, oneof, nested = []]: Message, outer = "") => {
    const path = outer + name;
    const group = { kind: "oneof", localName: oneof, fields: [] as object[] };
    const parent = {
      ...{ kind: "message", typeName: `sluicegate.v1.${path}`, file: PROTO3 },
      ...{ fields: [] as object[], members: [] as object[] },
      nestedMessages: nested.map((message): object => describe(message, `${path}.`)),
    };
    for (const [localName, number, type, kind] of fields) {
      const isMessage = typeof type === "string";
      const content = isMessage ? "message" : "scalar";
      const isList = kind === 3;
      const field = {
        ...{ kind: "field", name: localName, localName, number, parent, scalar: isMessage ? undefined : type },
        ...{ fieldKind: isList ? "list" : content, listKind: content, oneof: kind === 0 ? group : undefined },
        // Strings and bytes have a length of their own.
        ...{ packed: isList && !isMessage && type !== 9 && type !== 12, utf8Validation: true },
        // EXPLICIT and IMPLICIT.
        presence: !isList && (isMessage || kind !== undefined) ? 1 : 2,
        getDefaultValue() {},
        get message() {
          return named.get(type);
        },
      };
      parent.fields.push(field);
      if (kind !== 0) parent.members.push(field);
      else if (group.fields.push(field) === 1) parent.members.push(group);
    }
    named.set(path, parent);
    return parent;
  };
  return { messages: messages.map((message) => describe(message)) } as unknown as GenFile;
}

const PROTO3 = { edition: 999 };
