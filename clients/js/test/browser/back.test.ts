// The way back: a page with streams is kept by the browser when it is left, and goes on where it was.

import puppeteer, { type Browser, type Page } from "puppeteer-core";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";

import { until } from "../units/wait.js";
import { isThere, PATHS } from "./browsers.js";
import { WebServer } from "./server.js";

const PATH = "/api/f/info";

// Playwright switches the cache for the way back off.
describe.runIf(isThere("chromium") || !!process.env["CI"])("the way back in chromium", () => {
  let browser: Browser;
  let web: WebServer;
  let page: Page;

  beforeAll(async () => {
    browser = await puppeteer.launch({
      executablePath: PATHS.chromium,
      args: ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-sync"],
    });
  });
  afterAll(() => browser.close());
  beforeEach(async () => {
    [web, page] = [await WebServer.start(), await browser.newPage()];
  });
  afterEach(async () => {
    await page.close();
    await web.stop();
  });

  const run = <T>(code: string) => page.evaluate(code) as Promise<T>;
  const told = () => run<{ data: string[]; ready: number; gaps: string[] }>(`told("a")`);
  async function eventually(is: () => Promise<boolean>): Promise<void> {
    const end = Date.now() + 15_000;
    while (!(await is())) {
      if (Date.now() > end) throw new Error(`not in time: ${String(is)}`);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }

  it.each(["worker", "locks", "alone"])("%s: keeps a page with a stream, twice, and nothing is lost", async (mode) => {
    const stream = web.fake.stream(PATH);
    await page.goto(`${web.url}/?mode=${mode}`);
    await eventually(() => run<boolean>("window.isReady === true"));
    await run(`window.backs = 0; addEventListener("pageshow", ({ persisted }) => { if (persisted) window.backs++; }); begin("a", "${PATH}")`);
    await eventually(async () => (await told()).ready > 0);
    let published = 0;
    for (let round = 1; round <= 2; round++) {
      stream.publish(String(published++));
      await eventually(async () => (await told()).data.length === published);
      await page.goto(`${web.url}/other`);
      await until(() => stream.subscribers === 0);
      stream.publish(String(published++));
      await page.goBack();
      const why = () => run(`JSON.stringify(performance.getEntriesByType("navigation")[0].notRestoredReasons)`);
      expect(await run("window.backs"), String(await why())).toBe(round);
      await eventually(async () => (await told()).data.length === published);
      const { data, gaps } = await told();
      expect([data, gaps]).toEqual([Array.from({ length: published }, (_, at) => String(at)), []]);
      expect(stream.subscribers).toBe(1);
    }
    // The worker still sees that the page is gone.
    await page.close();
    await until(() => stream.subscribers === 0);
    page = await browser.newPage();
  });
});
