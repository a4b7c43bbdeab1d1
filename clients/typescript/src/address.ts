// The address of a route, and the subprotocols offered to it: why a browser refuses them, without the tokens in them.

/** @internal Undefined if a WebSocket can connect to the address. */
export function addressProblem(url: string | URL): string | undefined {
  // As a URL, its scheme is the host, or it is relative to the page.
  if (HOST_AND_PORT.test(`${url}`)) return "expected ws:// or wss:// before the host";
  let address: URL;
  try {
    address = absolute(url);
  } catch {
    return "expected a complete URL such as wss://gateway.example/pubsub";
  }
  const { protocol, href } = address;
  if (!/^(ws|http)s?:$/.test(protocol)) return `expected ws: or wss:, got ${protocol}`;
  return href.includes("#") ? "expected a URL without a fragment (#)" : undefined;
}

/** @internal Relative to the same base as for `WebSocket`: a page can have a <base>. */
export function absolute(url: string | URL): URL {
  const { document, location } = globalThis;
  return new URL(url, document?.baseURI ?? location?.href);
}

/** @internal Undefined if all subprotocols can be offered. */
export function protocolProblem(protocols: string[]): string | undefined {
  const index = protocols.findIndex((protocol, index) => !TOKEN.test(protocol) || protocols.indexOf(protocol) < index);
  return index < 0
    ? undefined
    : `protocols[${index}] is not valid: expected letters, digits and !#$%&'*+-.^_\`|~, each subprotocol once`;
}

const HOST_AND_PORT = /^(\[[\da-f:.]+\]|[\w.-]+):\d+(?=[/?#]|$)/i;
/** RFC 9110, section 5.6.2. */
const TOKEN = /^[\w!#$%&'*+\-.^`|~]+$/;
