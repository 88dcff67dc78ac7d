// One example in both browsers.

import { after, afterEach, before, describe } from "node:test";

import { Browser, NAMES } from "./browser.mjs";
import { comeBack } from "./server.mjs";

/** `tests(browser)` makes the tests, and gets a function that answers the browser. */
export function inBrowsers(tests) {
  for (const name of NAMES) {
    describe(name, () => {
      let browser;
      before(async () => {
        browser = await Browser.open(name);
      });
      // What a test that failed has left would be in the way of the others.
      afterEach(async () => {
        await browser?.empty();
        await comeBack();
      });
      after(() => browser?.close());
      tests(() => browser, name);
    });
  }
}
