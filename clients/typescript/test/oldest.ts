// Takes away what one of the oldest supported browsers lacks and Node has, so that all tests run without it. From MDN's
// compatibility data, for Chrome 100, Firefox 97 and Safari 15.4. The tests' own tools need `findLast`, and new
// methods of sets and strings.

// Node itself needs them, once, when it loads this for `fetch`.
import "node:http";

const LACKING = {
  AbortSignal: "any timeout",
  Array: "findLastIndex fromAsync toReversed toSorted toSpliced with",
  ArrayBuffer: "detached maxByteLength resizable resize transfer transferToFixedLength",
  Iterator: "drop every filter find flatMap forEach from map reduce some take toArray",
  Map: "groupBy",
  Object: "groupBy",
  Promise: "try withResolvers",
  RegExp: "escape",
  Response: "bytes json",
  URL: "canParse parse",
  URLSearchParams: "size",
};

for (const [name, members] of Object.entries(LACKING)) {
  const owner = globalThis[name as keyof typeof globalThis];
  for (const member of members.split(" ")) for (const holder of [owner, owner.prototype]) delete holder[member];
}
for (const name of ["CompressionStream", "DecompressionStream", "TransformStream", "URLPattern", "WritableStream"])
  delete (globalThis as { [name: string]: unknown })[name];
