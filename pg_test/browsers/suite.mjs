// One example in both browsers.

import { after, before, describe } from "node:test";

import { Browser, NAMES } from "./browser.mjs";

/** `tests(browser)` makes the tests, and gets a function that answers the browser. */
export function inBrowsers(tests) {
  for (const name of NAMES) {
    describe(name, () => {
      let browser;
      before(async () => {
        browser = await Browser.open(name);
      });
      after(() => browser?.close());
      tests(() => browser, name);
    });
  }
}
