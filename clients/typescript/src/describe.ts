// Short forms of descriptors: `src/generated` has hundreds of them, in every page.

/** @internal A field of a message. `type` is the number of a type, or the name of a message; `values` names an enum. */
export function field(
  name: string,
  number: number,
  type: number,
  typeName?: string,
  oneofIndex?: number,
  label?: number,
  proto3Optional?: boolean,
) {
  return { name, number, type, typeName, oneofIndex, label, proto3Optional };
}

/** @internal A message. */
export function message(name: string, field: object[], oneofs: string[] = [], nestedType: object[] = []) {
  return { name, field, oneofDecl: oneofs.map((name) => ({ name })), nestedType, enumType: [], extension: [] };
}

/** @internal An enum, whose numbers begin at 0. */
export function values(name: string, names: string[]) {
  return { name, value: names.map((name, number) => ({ name, number })) };
}
