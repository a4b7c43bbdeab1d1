// A page on which users log in at an OpenID provider, and what tests do there: over a session, or by plain HTTP.

import { ErrorResponse, UserManager } from "oidc-client-ts";
import { connect, type Gate, GateError } from "sluicegate";

/** A token that is not valid for longer is replaced before it is used. Seconds. */
const SOON = 2;

let users: UserManager;
let gate: Gate;
/** Tokens by which the session was opened or renewed, or requests were sent. */
let tokens = 0;
let renewing: Promise<string> | undefined;
/** Texts of the session's statuses. */
const statuses: string[] = [];
/** Numbers of records by topic, in the order in which they came, and why a loop has ended. */
const loops = new Map<string, { numbers: number[]; end?: string }>();

/** Takes back a user whom the provider has sent, and waits for clicks on the buttons. */
export async function begin(issuer: string): Promise<void> {
  const home = `${location.origin}/`;
  users = new UserManager({
    authority: issuer,
    client_id: "page",
    redirect_uri: home,
    post_logout_redirect_uri: home,
    automaticSilentRenew: false,
  });
  const { login, logout } = document.forms[0]!.elements as unknown as { [name: string]: HTMLButtonElement };
  login!.onclick = () => users.signinRedirect();
  logout!.onclick = () => users.signoutRedirect();
  if (location.search.includes("code=")) {
    await users.signinCallback();
    history.replaceState(null, "", home);
  }
  document.querySelector("output")!.value = (await users.getUser())?.profile.sub ?? "nobody";
}

/** Another token of the provider, which accepts each refresh token once. */
function renewed(): Promise<string> {
  renewing ??= renew().finally(() => {
    renewing = undefined;
  });
  return renewing;
}

async function renew(): Promise<string> {
  try {
    const user = await users.signinSilent();
    tokens += 1;
    return user!.access_token;
  } catch (error) {
    if (error instanceof ErrorResponse) throw new GateError("logged out at the provider", "closed");
    throw error;
  }
}

/** A token for a request. */
async function current(): Promise<string> {
  const user = await users.getUser();
  return (user?.expires_in ?? 0) > SOON ? user!.access_token : renewed();
}

/** Opens a session. */
export function open(url: string): void {
  gate = connect(url, { refresh: async () => ({ token: await renewed() }) });
  gate.addEventListener("status", ({ detail: { state, error } }) => {
    statuses.push(error ? `${state}: ${error.message}` : state);
  });
}

export function close(): void {
  gate.close();
}

export function told() {
  return { tokens, statuses, loops: Object.fromEntries(loops) };
}

/** Results of reading a topic, subscribing to it, and writing to it: `ok`, or the reason why not. */
export async function rights(topic: string): Promise<string[]> {
  const subscription = gate.subscribe(topic, { from: "earliest" });
  const subscribed = subscription.next();
  const calls = [
    gate.fetch(topic, 0, 0),
    gate.produce(topic, { value: { number: -1 } }),
    // Resolves with the record that has just been written, if it was.
    subscribed,
  ];
  const results = await Promise.allSettled(calls);
  await subscription.return();
  return results.map((result) => (result.status === "rejected" ? (result.reason as GateError).reason : "ok"));
}

/** Notes the numbers of a topic's records, as they come. */
export async function follow(topic: string): Promise<void> {
  const loop: { numbers: number[]; end?: string } = { numbers: [] };
  loops.set(topic, loop);
  try {
    for await (const { value } of gate.subscribe<{ number: number }>(topic, { from: "earliest" }))
      loop.numbers.push(value?.json()?.number ?? Number.NaN);
  } catch (error) {
    const { reason, message } = error as GateError;
    loop.end = `${reason}: ${message}`;
  }
}

/** A moment without work between two writes. */
const pause = () => new Promise((resolve) => setTimeout(resolve, 25));

/** Writes numbers, one after another, until the session has had so many tokens, and tells how many there were. */
export async function write(topic: string, until: number): Promise<number> {
  let number = 0;
  for (; tokens < until; await pause()) await gate.produce(topic, { value: { number: number++ } });
  return number;
}

/** Statuses of reading a topic, of its events, and of writing to it. */
export async function rightsByHttp(topic: string): Promise<number[]> {
  const token = await current();
  const asked = async (path: string, init: RequestInit = {}) => {
    const headers = { ...init.headers, authorization: `Bearer ${token}` };
    const { status, body } = await fetch(`/kafka/topics/${topic}${path}`, { ...init, headers });
    await body?.cancel();
    return status;
  };
  return [await asked("/partitions/0/records"), await asked("/events"), await asked("", written(-1))];
}

/** As {@link follow}, by `EventSource`: a stream ends with its token, and another one goes on where it ended. */
export function followByHttp(topic: string): void {
  const loop: { numbers: number[]; end?: string } = { numbers: [] };
  loops.set(topic, loop);
  let last: string | undefined;
  const next = async () => {
    const query = new URLSearchParams({ access_token: await current(), from: "earliest" });
    if (last !== undefined) query.set("last_event_id", last);
    const events = new EventSource(`/kafka/topics/${topic}/events?${query}`);
    events.onmessage = ({ data, lastEventId }) => {
      last = lastEventId;
      loop.numbers.push(JSON.parse(data).value.number);
    };
    events.addEventListener("error", () => {
      events.close();
      next().catch(ended);
    });
  };
  const ended = (error: GateError) => {
    loop.end = `${error.reason}: ${error.message}`;
  };
  next().catch(ended);
}

/** As {@link write}, by requests. */
export async function writeByHttp(topic: string, until: number): Promise<number> {
  let number = 0;
  for (; tokens < until; await pause()) {
    const { headers, ...init } = written(number++);
    const authorization = `Bearer ${await current()}`;
    const { status } = await fetch(`/kafka/topics/${topic}`, { ...init, headers: { ...headers, authorization } });
    if (status !== 200) throw new Error(`${status}`);
  }
  return number;
}

function written(number: number) {
  const body = JSON.stringify({ records: [{ value: { number } }] });
  return { method: "POST", headers: { "content-type": "application/vnd.kafka.json.v2+json" }, body };
}
