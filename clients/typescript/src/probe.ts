// Why a WebSocket was not opened: browsers hide the answer to an upgrade, but not the one to a plain request for the
// same address.

/** @internal Says what a plain request finds out. Never the query, which can have a token. */
export async function explain(url: string | URL, protocols: string[], signal: AbortSignal): Promise<string> {
  const { location } = globalThis;
  const address = new URL(url, location?.href);
  address.protocol = address.protocol.replace("http", "ws");
  const shown = `${address.protocol}//${address.host}${address.pathname}`;
  const origin = location ? `the origin ${location.origin}` : "this program";
  address.protocol = address.protocol.replace("ws", "http");
  address.username = address.password = address.hash = "";
  const within = AbortSignal.any([signal, AbortSignal.timeout(WITHIN)]);
  try {
    const { status, body } = await fetch(address, {
      credentials: "include",
      redirect: "manual",
      cache: "no-store",
      signal: within,
    });
    void body?.cancel().catch(() => {});
    return `the WebSocket was not opened: ${shown} answers a plain request with ${meaning(status, protocols.length > 0, origin)}`;
  } catch {
    // A page can read every answer of its own origin.
    const isOwn = location?.origin === address.origin;
    return (
      `neither a WebSocket nor a plain request got an answer from ${shown}${isOwn ? "" : ` that ${origin} may read`}: ` +
      `check whether the gateway is running, the address, TLS${isOwn ? "" : ", the login, and whether the gateway allows the origin"}`
    );
  }
}

function meaning(status: number, hasProtocols: boolean, origin: string): string {
  switch (status) {
    case 0:
      return REDIRECT;
    case 401:
      return hasProtocols
        ? "401, as it has no subprotocols: log in again, because a token in them may be refused; otherwise the bridge may be down"
        : "401: log in, the login is missing or has expired";
    case 403:
      return `403: the gateway refuses this login or ${origin}`;
    case 404:
      return "404: there is no such route";
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

const REDIRECT = "a redirect, as to a login";
/** Milliseconds. */
const WITHIN = 5000;
