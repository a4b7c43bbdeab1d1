// The provider's pages.

/** The page with a button for each user. */
export function loginPage(users: ReadonlyMap<string, string>): string {
  const buttons = [...users].map(([user, name]) => `<button name="user" value="${user}">${name}</button>`);
  return page(
    "Log in",
    `<p>Who are you?</p>
    <form method="post">${buttons.join(" ")}</form>
    <p><small>This login asks for no password. It is for the demo, and only this machine can reach it.</small></p>`,
  );
}

/** The page that logs out by itself. `form` is the provider's own, with the id that its button needs. */
export function logoutPage(form: string): string {
  return page(
    "Log out",
    `${form}<button form="op.logoutForm" name="logout" value="yes">Log out</button>
    <script>document.querySelector("button").click();</script>`,
  );
}

/** A page with a text. */
export function messagePage(title: string, text: string): string {
  return page(escaped(title), `<p>${escaped(text)}</p>`);
}

function page(title: string, body: string): string {
  return `<!doctype html>
<html lang="en">
  <head>
    <meta charset="utf-8">
    <meta name="viewport" content="width=device-width">
    <title>${title}</title>
    <style>${STYLE}</style>
  </head>
  <body><main><h1>${title}</h1>${body}</main></body>
</html>`;
}

function escaped(text: string): string {
  return text.replace(/[&<>"]/g, (character) => `&#${character.charCodeAt(0)};`);
}

const STYLE = `
  :root { color-scheme: light dark; font: 1.1rem/1.5 system-ui, sans-serif; }
  body { display: grid; min-height: 90vh; place-items: center; }
  main { text-align: center; max-width: 24rem; }
  button { font: inherit; padding: 0.6rem 1.6rem; border: 0; border-radius: 0.5rem; background: #1b6ca8; color: #fff; cursor: pointer; }
  button:hover { background: #135484; }
`;
