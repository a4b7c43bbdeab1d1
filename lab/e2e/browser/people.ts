// Users in browsers of their own, and pages that they see.

import type { Browser, Page } from "playwright-core";

import { until } from "./script.ts";

/** A user's page, in a browser without anybody else's login. */
export class Person {
  readonly page: Page;
  /** WebSockets that the page has opened. */
  sockets = 0;
  /** Errors of the page's scripts. */
  readonly errors: Error[] = [];

  private constructor(page: Page) {
    this.page = page;
    page.on("pageerror", (error) => this.errors.push(error));
    page.on("websocket", () => {
      this.sockets += 1;
    });
  }

  static async open(browser: Browser, url: string): Promise<Person> {
    const context = await browser.newContext();
    const person = new Person(await context.newPage());
    await person.page.goto(url);
    return person;
  }

  /** Logs in at the provider by its button with this name. The provider sends the browser back. */
  async logIn(name: string): Promise<void> {
    const { page } = this;
    const home = new URL(page.url()).origin;
    // A page without its scripts ignores a click.
    await page.waitForLoadState();
    await page.locator("#login").click();
    await page.getByRole("button", { name, exact: true }).click();
    await page.waitForURL((url) => url.origin === home && url.search === "");
  }

  /** Waits until the page shows the text. */
  async shows(text: RegExp): Promise<void> {
    let body = "";
    await until(
      () => `${body} has ${text}`,
      async () => {
        body = await this.page.innerText("body");
        return text.test(body);
      },
    );
  }
}
