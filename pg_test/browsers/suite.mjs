// One example in both browsers.

import { after, before, describe } from "node:test";

import { Browser, isThere, NAMES } from "./browser.mjs";

/** `tests(browser)` makes the tests, and gets a function that answers the browser. */
export function inBrowsers(tests) {
  for (const name of NAMES) {
    // On CI a browser that is not there is a failure; elsewhere its tests are skipped.
    describe(name, { skip: !isThere(name) && !process.env.CI && `there is no ${name}` }, () => {
      let browser;
      before(async () => {
        browser = await Browser.open(name);
      });
      after(() => browser?.close());
      tests(() => browser, name);
    });
  }
}
