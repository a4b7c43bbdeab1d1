// A proxy with the streams that the suite creates, because the bridge creates no topics: PUT of a new name takes the next
// partition, on the route of its content type, and DELETE forgets the name. Other requests go to the gateway as they are,
// but for a shorter wait of long polls.

import { createServer, type IncomingHttpHeaders, type IncomingMessage, request, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { buffer } from "node:stream/consumers";

/** The partitions behind a gateway. */
export interface Streams {
  /** Host and port. */
  readonly gateway: string;
  readonly topics: readonly string[];
  /** Of each topic. */
  readonly partitions: number;
  /** Whether topics are streams of NATS, and partitions their subjects. */
  readonly subjects?: boolean;
  /** Paths of routes, by their content type. */
  readonly routes: Record<string, string>;
}

interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
}

/** Starts a proxy, and resolves with its URL. It ends with the process. */
export async function serve(streams: Streams): Promise<string> {
  const creator = new Creator(streams);
  const server = createServer((incoming, outgoing) => {
    creator.answer(incoming, outgoing).catch((error) => outgoing.destroy(error));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

class Creator {
  readonly #streams: Streams;
  /** Paths at the gateway. */
  readonly #names = new Map<string, string>();
  #used = 0;

  constructor(streams: Streams) {
    this.#streams = streams;
  }

  async answer(incoming: IncomingMessage, outgoing: ServerResponse): Promise<void> {
    const [path = "", query] = (incoming.url ?? "").split(/(?=\?)/);
    const known = this.#names.get(path);
    if (incoming.method === "PUT" && known === undefined) return this.#create(path, incoming, outgoing);
    if (incoming.method === "DELETE") {
      incoming.resume();
      return reply(outgoing, plain(this.#names.delete(path) ? 204 : 404));
    }
    // Browsers ask about origins before they know whether there is a stream.
    const target = known ?? (incoming.method === "OPTIONS" ? this.#path("text/plain", 0) : undefined);
    if (target !== undefined) return this.#forward(target + quick(query ?? ""), incoming, outgoing);
    incoming.resume();
    reply(outgoing, plain(404));
  }

  /** The gateway creates what is not refused: a stream with the first content. */
  async #create(name: string, incoming: IncomingMessage, outgoing: ServerResponse): Promise<void> {
    const contentType = incoming.headers["content-type"] ?? "application/octet-stream";
    const content = await buffer(incoming);
    const path = this.#path(contentType, this.#used++);
    const created = await this.#send("PUT", path, without(incoming.headers, ["content-length", "transfer-encoding"]));
    if (created.status !== 200) return reply(outgoing, created);
    let next = created.headers["stream-next-offset"];
    const isEmptyArray = contentType.startsWith("application/json") && /^\s*\[\s*\]\s*$/.test(content.toString());
    if (content.length > 0 && !isEmptyArray) {
      const written = await this.#send("POST", path, { "content-type": contentType }, content);
      if (written.status !== 204) return reply(outgoing, written);
      next = written.headers["stream-next-offset"];
    }
    this.#names.set(name, path);
    const location = `http://${incoming.headers.host}${name}`;
    reply(outgoing, { ...created, status: 201, headers: { ...created.headers, location, "stream-next-offset": next } });
  }

  #path(contentType: string, number: number): string {
    const { topics, partitions, routes, subjects = false } = this.#streams;
    const route = routes[contentType.split(";")[0]!.trim().toLowerCase()];
    // Writes of one case move the offsets of its stream: cases beside it have others.
    const topic = topics[subjects ? number % topics.length : Math.floor(number / partitions)];
    if (route === undefined || topic === undefined) throw new Error(`no stream ${number} of ${contentType}`);
    return `${route}/${topic}/${subjects ? `${topic}.${number}` : number % partitions}`;
  }

  #forward(path: string, incoming: IncomingMessage, outgoing: ServerResponse): void {
    const asked = this.#request(incoming.method, path, incoming.headers);
    asked.on("response", (answer) => {
      outgoing.writeHead(answer.statusCode ?? 0, answer.headers).flushHeaders();
      answer.pipe(outgoing);
    });
    asked.on("error", () => outgoing.destroy());
    outgoing.on("close", () => asked.destroy());
    incoming.pipe(asked);
  }

  async #send(method: string, path: string, headers: IncomingHttpHeaders, body = Buffer.of()): Promise<Answer> {
    const asked = this.#request(method, path, headers);
    const answered = new Promise<IncomingMessage>((resolve, reject) => {
      asked.on("response", resolve).on("error", reject);
    });
    asked.end(body);
    const answer = await answered;
    const kept = without(answer.headers, ["content-length", "transfer-encoding"]);
    return { status: answer.statusCode ?? 0, headers: kept, body: await buffer(answer) };
  }

  #request(method: string | undefined, path: string, headers: IncomingHttpHeaders) {
    const [hostname, port] = this.#streams.gateway.split(":");
    return request({ hostname, port, method, path, headers: without(headers, ["host", "connection", "expect"]) });
  }
}

/** The query with a wait of 2 s, if it is that of a long poll, which would wait for 20 s. */
function quick(query: string): string {
  return query.includes("live=long-poll") ? `${query}&timeout=2000` : query;
}

function plain(status: number): Answer {
  const headers = { "content-type": "text/plain", "x-content-type-options": "nosniff" };
  return { status, headers, body: Buffer.of() };
}

function reply(outgoing: ServerResponse, { status, headers, body }: Answer): void {
  outgoing.writeHead(status, headers).end(body);
}

function without(headers: IncomingHttpHeaders, names: string[]): IncomingHttpHeaders {
  return Object.fromEntries(Object.entries(headers).filter(([name]) => !names.includes(name)));
}
