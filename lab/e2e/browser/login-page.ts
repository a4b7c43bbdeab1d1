// The page of `pages/login.ts` on an address of its own, which also passes requests for `/kafka/` on to the gateway.

import { createServer, type Server, request as send } from "node:http";

import { bundle } from "./bundle.ts";

/** Serves the page at this port of 127.0.0.1. Its users log in at `issuer`. */
export async function serve(port: number, gateway: string, issuer: string): Promise<Server> {
  const script = await bundle("login");
  const html = `<!doctype html>
<html lang="en">
  <title>Users who log in</title>
  <h1>Users who log in</h1>
  <p><output></output></p>
  <form>
    <button type="button" id="login">Log in</button>
    <button type="button" id="logout">Log out</button>
  </form>
  <script src="/login.js"></script>
  <script>login.begin("${issuer}")</script>
</html>`;
  const server = createServer((request, response) => {
    const { url = "/", method, headers } = request;
    if (url.startsWith("/kafka/")) {
      const [host, gatewayPort] = gateway.split(":");
      const passed = send({ host, port: gatewayPort, path: url, method, headers, agent: false }, (answer) => {
        response.writeHead(answer.statusCode ?? 502, answer.headers);
        answer.pipe(response);
      });
      // A browser that leaves ends the stream of events, and so does a gateway.
      response.on("close", () => passed.destroy());
      passed.on("error", () => response.destroy());
      request.pipe(passed);
      return;
    }
    const isScript = url === "/login.js";
    response.setHeader("content-type", isScript ? "text/javascript" : "text/html");
    response.end(isScript ? script : html);
  });
  await new Promise<void>((resolve) => server.listen(port, "127.0.0.1", resolve));
  return server;
}
