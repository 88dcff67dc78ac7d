import assert from "node:assert/strict";
import { it } from "node:test";

import { restart, sql, start, stop, URL } from "./server.mjs";
import { inBrowsers } from "./suite.mjs";

inBrowsers(browser => {
  it("follows every change of its table in two tabs, whoever makes it, and survives a restart", async () => {
    await sql("delete from newsletter.newsletters; insert into newsletter.newsletters (title, content) values ('first', 'text')");
    const me = await browser().person();
    const [one, two] = [await me.open(URL), await me.open(URL)];
    const titles = async (...titles) => {
      for (const page of [one, two]) await page.shows("article h2", ...titles);
    };
    await titles("first");
    await sql("insert into newsletter.newsletters (title, content) values ('<b>second</b>', E'two\\nlines')");
    await titles("<b>second</b>", "first");
    await sql("update newsletter.newsletters set title = upper(title)");
    await titles("<B>SECOND</B>", "FIRST");

    // By the page, with the keyboard.
    await one.write("Title", "third");
    await one.write("Text", "by hand");
    await one.press("button", "Publish");
    await titles("third", "<B>SECOND</B>", "FIRST");
    await one.until(() => document.querySelector("#title").value === "");
    await two.press("button", "Edit third");
    await two.until(() => document.activeElement.id === "title");
    await two.write("Title", "third, corrected");
    await two.key("Enter");
    await titles("third, corrected", "<B>SECOND</B>", "FIRST");
    await two.shows("#task", "A new one");
    await one.press("button", "Delete FIRST");
    await titles("third, corrected", "<B>SECOND</B>");
    await one.isGood("letters");
    await two.press("button", "Edit third, corrected");
    await two.isGood("edit");
    await two.press("button", "Cancel");
    assert.deepEqual((await one.tabOrder(4)).map(name => name.trim()), ["title", "content", "Publish", "Edit third, corrected"]);

    // An article that did not change is the same one: what is selected in it, or has the focus, stays.
    await one.run(() => { window.kept = document.querySelector("article:last-child"); });
    await sql("update newsletter.newsletters set content = 'other' where title like 'third%'");
    for (const page of [one, two]) await page.shows("article .content", "other", "two\nlines");
    assert.ok(await one.run(() => window.kept === document.querySelector("article:last-child")));

    await restart();
    await sql("delete from newsletter.newsletters where title like 'third%'");
    await titles("<B>SECOND</B>");
    for (const page of [one, two]) await page.isBack();
    await stop();
    await one.write("Title", "kept");
    await one.write("Text", "text");
    await one.press("button", "Publish");
    await one.says("#problem", "cannot be reached");
    await start();
    for (const page of [one, two]) await page.isBack();
    await one.press("button", "Publish");
    await titles("kept", "<B>SECOND</B>");
    await sql(`insert into newsletter.newsletters (title, content) values (repeat('x', 300), repeat('y', 300))`);
    await titles("x".repeat(300), "kept", "<B>SECOND</B>");
    await one.isGood("long words");
    for (const page of [one, two]) page.isQuiet();
    await me.leave();
  });
});
