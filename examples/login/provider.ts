// An OpenID provider for the demo and the tests: two users, who log in without a password. It keeps everything in
// memory and listens on this machine only.
//
//   node provider.ts --port 8081 --origin http://127.0.0.1:8080 [--origin …] [--token-seconds 300]

import { generateKeyPairSync, randomBytes } from "node:crypto";
import { text } from "node:stream/consumers";
import { parseArgs } from "node:util";

import { type Configuration, type KoaContextWithOIDC, Provider } from "oidc-provider";

import { loginPage, logoutPage, messagePage } from "./pages.ts";

/** The client of pages. */
const PAGE = "page";
/** The secret of the clients of programs: the users have no passwords either. */
const PROGRAM_SECRET = "demo";
/** The claim `aud` of access tokens. */
const AUDIENCE = "sluicegate-demo";
const RESOURCE = "urn:sluicegate:demo";
const ALGORITHM = "ES256" as const;

const { values } = parseArgs({
  options: {
    port: { type: "string" },
    /** Origins of pages that can log users in, and out. */
    origin: { type: "string", multiple: true, default: [] },
    "token-seconds": { type: "string", default: "300" },
  },
});
const port = Number(values.port);
const issuer = `http://127.0.0.1:${port}`;
const users = new Map([
  ["alice", "Alice"],
  ["bob", "Bob"],
]);
const pages = values.origin.map((origin) => `${origin}/`);
const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });

const configuration: Configuration = {
  clients: [
    {
      client_id: PAGE,
      redirect_uris: pages,
      post_logout_redirect_uris: pages,
      grant_types: ["authorization_code", "refresh_token"],
      response_types: ["code"],
      token_endpoint_auth_method: "none",
      id_token_signed_response_alg: ALGORITHM,
    },
    // Programs of a user log in as the user, with client credentials.
    ...[...users.keys()].map((user) => ({
      client_id: user,
      client_secret: PROGRAM_SECRET,
      redirect_uris: [],
      grant_types: ["client_credentials"],
      response_types: [],
      id_token_signed_response_alg: ALGORITHM,
    })),
  ],
  jwks: { keys: [{ ...privateKey.export({ format: "jwk" }), alg: ALGORITHM, use: "sig" }] },
  cookies: { keys: [randomBytes(32).toString("hex")] },
  clientBasedCORS: (_, origin) => values.origin.includes(origin),
  features: {
    clientCredentials: { enabled: true },
    devInteractions: { enabled: false },
    resourceIndicators: {
      enabled: true,
      defaultResource: () => RESOURCE,
      useGrantedResource: () => true,
      getResourceServerInfo: () => ({
        scope: "",
        audience: AUDIENCE,
        accessTokenTTL: Number(values["token-seconds"]),
        accessTokenFormat: "jwt",
        jwt: { sign: { alg: ALGORITHM } },
      }),
    },
    rpInitiatedLogout: {
      enabled: true,
      logoutSource: (ctx, form) => {
        ctx.body = logoutPage(form);
      },
      postLogoutSuccessSource: (ctx) => {
        ctx.body = messagePage("Logged out", "You can close this page.");
      },
    },
  },
  findAccount: (_, sub) => {
    const name = users.get(sub);
    return name === undefined ? undefined : { accountId: sub, claims: () => ({ sub, name }) };
  },
  claims: { openid: ["sub"], profile: ["name"] },
  interactions: { url: (_, { uid }) => `/login/${uid}` },
  issueRefreshToken: (_, client) => client.grantTypeAllowed("refresh_token"),
  loadExistingGrant: grantEverything,
  renderError: (ctx, { error, error_description: description = "" }) => {
    ctx.body = messagePage(error, description);
  },
};

/** Users of the demo are not asked what the page may do. */
async function grantEverything({ oidc }: KoaContextWithOIDC) {
  const { client, session, provider } = oidc;
  if (!client || !session?.accountId) return undefined;
  const known = session.grantIdFor(client.clientId);
  if (known) return provider.Grant.find(known);
  const grant = new provider.Grant({ clientId: client.clientId, accountId: session.accountId });
  grant.addOIDCScope("openid profile");
  await grant.save();
  return grant;
}

const provider = new Provider(issuer, configuration);
provider.use(async (ctx, next) => {
  const [, place, uid] = ctx.path.split("/");
  if (place !== "login" || !uid) return next();
  if (ctx.method !== "POST") {
    // Fails if no page has asked for a login.
    await provider.interactionDetails(ctx.req, ctx.res);
    ctx.body = loginPage(users);
    return;
  }
  const accountId = new URLSearchParams(await text(ctx.req)).get("user") ?? "";
  if (!users.has(accountId)) {
    ctx.status = 400;
    return;
  }
  // It answers itself.
  ctx.respond = false;
  await provider.interactionFinished(ctx.req, ctx.res, { login: { accountId } });
});
provider.listen(port, "127.0.0.1");
