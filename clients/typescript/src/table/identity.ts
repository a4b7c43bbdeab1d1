// The user whom a token names.

import type { Connections } from "../connections.ts";
import { fromBase64 } from "../positions.ts";

/** @internal The issuer and the subject of the token among the subprotocols. Undefined: none of them is such a token. */
export function identityOf(protocols: string[]): string | undefined {
  for (const protocol of protocols) {
    const [, payload] = TOKEN.exec(protocol) ?? [];
    if (payload === undefined) continue;
    try {
      const { iss, sub } = JSON.parse(decoder.decode(fromBase64(payload.replace(/-/g, "+").replace(/_/g, "/"))));
      if (typeof iss === "string" && typeof sub === "string") return JSON.stringify([iss, sub]);
    } catch {
      // Not a JSON Web Token.
    }
  }
  return undefined;
}

/** @internal The name of what is stored of a route for a user. */
export function storeName({ url: address }: Connections, identity: string, ...of: unknown[]): string {
  // A query can have a token, and so can what is before the host.
  const { protocol, host, pathname } = new URL(address, globalThis.document?.baseURI);
  return JSON.stringify([identity, `${protocol}//${host}${pathname}`, ...of]);
}

/** The last three parts of a subprotocol, of which the second one is the payload. */
const TOKEN = /(?:^|\.)[\w-]+\.([\w-]+)\.[\w-]*$/;
const decoder = new TextDecoder();
