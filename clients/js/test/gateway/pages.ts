// Pages of a browser on the real gateway, and the network between them.

import { afterAll, afterEach, beforeAll, describe } from "vitest";

import { type Browser, isThere, type Name, open, type Tab } from "../browser/browsers.js";
import { WebServer } from "../browser/server.js";
import { GATEWAY } from "./control.js";

export interface Told { data: string[]; gaps: string[]; ready: number; states: boolean[]; ends: number[] }

export class Pages {
  browser!: Browser;
  web!: WebServer;
  readonly #open: Tab[] = [];

  /** A tab that hears this stream. */
  async tab(path: string, options = "{}"): Promise<Tab> {
    const one = await this.browser.tab();
    this.#open.push(one);
    await this.load(one, path, options);
    return one;
  }

  async load(one: Tab, path: string, options = "{}"): Promise<void> {
    await one.goto(`${this.web.url}/`);
    await eventually(() => one.run<boolean>("window.isReady === true"));
    await one.run(`begin("a", ${JSON.stringify(path)}, ${options})`);
    await eventually(async () => (await told(one)).ready > 0);
  }

  async close(one: Tab): Promise<void> {
    this.#open.splice(this.#open.indexOf(one), 1);
    await one.close();
  }

  async closeAll(): Promise<void> {
    for (const one of this.#open.splice(0)) await one.close();
  }
}

export const told = (one: Tab) => one.run<Told>(`told("a")`);

export async function eventually(is: () => Promise<boolean>): Promise<void> {
  const end = Date.now() + 60_000;
  while (!(await is())) {
    if (Date.now() > end) throw new Error(`not in time: ${String(is)}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** Runs these tests in both browsers. On CI one that is not there is a failure. */
export function inBrowsers(what: string, tests: (pages: Pages, name: Name) => void): void {
  for (const name of ["chromium", "firefox"] as const) {
    describe.runIf(isThere(name) || !!process.env["CI"])(`${what} in ${name}`, () => {
      const pages = new Pages();
      beforeAll(async () => {
        pages.browser = await open(name);
        pages.web = await WebServer.start(GATEWAY);
      });
      afterEach(() => pages.closeAll());
      afterAll(async () => {
        await pages.browser.close();
        await pages.web.stop();
      });
      tests(pages, name);
    });
  }
}
