import assert from "node:assert/strict";
import { it } from "node:test";

import { restart, sql, stop, start, URL } from "./server.mjs";
import { inBrowsers } from "./suite.mjs";

inBrowsers(browser => {
  it("shows the last posts, follows each new one in two tabs, and survives a restart", async () => {
    await sql("truncate feed.post; insert into feed.post (title) select 'old ' || n from generate_series(1, 60) n");
    const me = await browser().person();
    const [one, two] = [await me.open(URL), await me.open(URL)];
    const newest = (...titles) => Promise.all([one, two].map(page => page.until(
      titles => titles.every((title, at) => document.querySelectorAll("#posts li p")[at]?.textContent === title), titles)));
    await newest("old 60", "old 59");
    assert.equal(await one.run(() => document.querySelectorAll("#posts li").length), 50);
    await sql("insert into feed.post (title) values ('<b>from psql</b>'), ('twice')");
    await newest("twice", "<b>from psql</b>", "old 60");
    await one.write("What is new?", "by keyboard");
    await one.key("Enter");
    await newest("by keyboard", "twice");
    await one.until(() => document.querySelector("input").value === "");
    await one.write("What is new?", "x".repeat(128));
    await one.key("Enter");
    await newest("x".repeat(128), "by keyboard");
    await two.reload();
    await newest("x".repeat(128), "by keyboard");
    await one.isGood("posts without a blank");
    assert.deepEqual(await one.tabOrder(2), ["title", "Post"]);

    await restart();
    await sql("insert into feed.post (title) values ('after')");
    await newest("after", "x".repeat(128));
    for (const page of [one, two]) await page.isBack();
    await stop();
    await one.write("What is new?", "kept");
    await one.key("Enter");
    await one.says("#problem", "That did not work");
    assert.equal(await one.run(() => document.querySelector("input").value), "kept");
    await start();
    for (const page of [one, two]) await page.isBack();
    await one.press("button", "Post");
    await newest("kept", "after");
    await one.shows("#problem", "");
    for (const page of [one, two]) page.isQuiet();
    await me.leave();
  });

  it("says that there is nothing yet", async () => {
    await sql("truncate feed.post");
    const me = await browser().person();
    const page = await me.open(URL);
    await page.until(() => document.querySelector("[role=log]").ariaBusy === "false");
    await page.isGood("empty");
    await me.leave();
  });
});
