// Short forms of descriptors: `src/generated` has hundreds of them, in every page.

/**
 * @internal A field of a message. `of` is the number of a type, or the name of a message, or of an enum behind `=`.
 * `label` is 3 if the field is repeated, 1 if it is optional, and 0 if it is of the message's oneof.
 */
export function field(name: string, number: number, of: number | string, label?: number) {
  const type = typeof of === "number" ? of : of.startsWith("=") ? 14 : 11;
  const typeName = `sluicegate.v1.${of}`.replace("=", "");
  return { name, number, type, typeName, label, oneofIndex: label === 0 ? 0 : undefined, proto3Optional: label === 1 };
}

/** @internal A message, which has one oneof at most. The optional fields' own, which nothing reads, are left out. */
export function message(name: string, field: object[], oneof?: string, nestedType: object[] = []) {
  return { name, field, oneofDecl: oneof ? [{ name: oneof }] : [], nestedType, enumType: [], extension: [] };
}

/** @internal An enum, whose numbers begin at 0. */
export function values(name: string, names: string[]) {
  return { name, value: names.map((name, number) => ({ name, number })) };
}
