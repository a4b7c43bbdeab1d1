// Why a WebSocket was not opened: browsers hide the answer to an upgrade, but not the one to a plain request for the
// same address.

import { absolute } from "./address.ts";
import { unless } from "./pause.ts";

/**
 * @internal Says what plain requests find out. Never the query, which can have a token. It asks at most four times: with
 * everything that the page may send, without cookies, as routes that are not for WebSockets allow it, whether anything
 * answers that this page cannot read, and whether it does with the other scheme. The latter two have neither cookies nor
 * a query, which must not travel without TLS. `signal` ends the requests.
 */
export async function explain(url: string | URL, protocols: string[], signal: AbortSignal): Promise<string> {
  const { location } = globalThis;
  const address = absolute(url);
  const isTls = /^(http|ws)s/.test(address.protocol);
  const at = (isTls: boolean) => `${isTls ? "wss" : "ws"}://${address.host}${address.pathname}`;
  const origin = location ? `the origin ${location.origin}` : "this program";
  address.protocol = isTls ? "https" : "http";
  address.username = address.password = address.hash = "";
  const until = performance.now() + WITHIN;
  const ask = async (url: URL, how: RequestInit) =>
    unless(signal, fetch(url, { ...how, cache: "no-store", signal }), until - performance.now());
  let code: string | undefined;
  for (const credentials of ["include", "omit"] as const) {
    try {
      const { status, body } = await ask(address, { credentials, redirect: "manual" });
      void body?.cancel().catch(() => {});
      const says = meaning(status, protocols.length > 0, origin);
      const more = status === 400 && !isTls ? ", or the port expects TLS" : "";
      return `${NOT_OPENED}${at(isTls)} answers a plain request with ${says}${more}`;
    } catch (error) {
      // Of Node.
      code = (error as { cause?: { code?: string } }).cause?.code;
    }
  }
  const root = new URL("/", address);
  const answers = () => ask(root, { method: "HEAD", mode: "no-cors", credentials: "omit" }).then(YES, NO);
  // A page can read every answer of its own origin, and a program those of every origin.
  if (location && location.origin !== root.origin && (await answers())) {
    return (
      `${NOT_OPENED}${at(isTls)} does not let ${origin} read its answer: the path may be wrong, the origin not in ` +
      '"origins" of the route, or the gateway asks for a login'
    );
  }
  // Without a port, the other scheme has another one.
  if (root.port) {
    root.protocol = isTls ? "http" : "https";
    if (await answers()) {
      return `${NOT_OPENED}expected ${at(!isTls)}, because ${root.host} ${isTls ? "answers without TLS" : "answers with TLS"}`;
    }
  }
  return (
    `nothing answers at ${address.host}${code ? ` (${code})` : ""}: the gateway may be stopped, ` +
    `${isTls ? "its certificate not trusted, " : ""}or host or port wrong`
  );
}

function meaning(status: number, hasProtocols: boolean, origin: string): string {
  switch (status) {
    case 0:
      return REDIRECT;
    case 401:
      return hasProtocols
        ? "401, as it has no subprotocols: log in again, because a token in them may be refused; otherwise the path may be of no pubsub route, or the bridge down"
        : "401: log in, the login is missing or has expired";
    case 403:
      return `403: the gateway refuses this login or ${origin}`;
    case 426:
      // Of the filter itself, without the bridge, which checks tokens.
      return (
        "426: address and origin are right; the bridge may be down, its route missing, the login or a subprotocol not " +
        "accepted, or a proxy stops WebSockets"
      );
    case 429:
      return "429: there were too many requests";
    default:
      // Browsers hide the status of a redirect.
      if (status >= 300 && status < 400) return REDIRECT;
      return status < 500
        ? `${status}: there is no pubsub route of Sluicegate`
        : `${status}: the gateway, or what is behind it, fails`;
  }
}

const NOT_OPENED = "the WebSocket was not opened: ";
const REDIRECT = "a redirect, as to a login";
const YES = () => true;
const NO = () => false;
/** Milliseconds. */
const WITHIN = 5000;
