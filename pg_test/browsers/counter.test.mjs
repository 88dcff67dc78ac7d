import assert from "node:assert/strict";
import { it } from "node:test";

import { restart, sql, start, stop, URL } from "./server.mjs";
import { inBrowsers } from "./suite.mjs";

inBrowsers(browser => {
  it("shows the value, follows it in two tabs and two browsers' worth of people, and survives a restart", async () => {
    await sql("update counter.counter set n = 0");
    const [me, other] = [await browser().person(), await browser().person()];
    const one = await me.open(URL);
    await one.shows("output", "0");
    const [two, theirs] = [await me.open(URL), await other.open(URL)];
    for (const page of [two, theirs]) await page.shows("output", "0");
    for (let at = 0; at < 3; at++) await one.press("button", "Count up");
    for (const page of [one, two, theirs]) await page.shows("output", "3");
    await two.press("button", "Count up", "Space");
    for (const page of [one, two, theirs]) await page.shows("output", "4");
    await two.reload();
    await two.shows("output", "4");
    await sql("update counter.counter set n = 9007199254740993");
    for (const page of [one, two, theirs]) await page.shows("output", "9,007,199,254,740,993");
    await one.isGood("a large number");
    assert.deepEqual(await one.tabOrder(1), ["increment"]);

    await restart();
    await sql("update counter.counter set n = 7");
    for (const page of [one, two, theirs]) {
      await page.shows("output", "7");
      await page.isBack();
    }
    await stop();
    await one.press("button", "Count up");
    await one.says("#problem", "That did not work");
    await start();
    for (const page of [one, two, theirs]) await page.isBack();
    await one.press("button", "Count up");
    for (const page of [one, two, theirs]) await page.shows("output", "8");
    await one.shows("#problem", "");
    await one.isGood("after a restart");
    for (const page of [one, two, theirs]) page.isQuiet();
    for (const person of [me, other]) await person.leave();
  });
});
