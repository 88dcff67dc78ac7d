import assert from "node:assert/strict";
import { it } from "node:test";

import { eventually } from "./page.mjs";
import { restart, sql, start, stop, URL } from "./server.mjs";
import { inBrowsers } from "./suite.mjs";

/** What a browser says in red of a server that is away. */
const AWAY = /net::ERR_|status of 50[234]|NetworkError|connection to http\S* was interrupted|can.t establish a connection/;

const begin = () => sql("truncate progress.price, progress.job");
/** How many prices are in the table. */
const imported = async () => Number(await sql("select count(*) from progress.price"));
/** What the bar says. */
const done = page => page.run(() => document.querySelector("progress").value);
const isAt = (page, least) => page.until(least => document.querySelector("progress").position >= least, least);
const ended = (page, state, message) => page.shows("#state", state).then(() => page.says("#message", message));

/** Opens the page as somebody who has a badge. */
async function enter(person, code = "ada-1815") {
  const page = await person.open(URL);
  await page.write("Badge", code);
  await page.key("Enter");
  await page.until(() => !document.querySelector("#who").hidden);
  return page;
}

inBrowsers(browser => {
  it("shows an import in every tab and after a reload, cancels it from another tab, and goes on with it", async () => {
    await begin();
    const me = await browser().person();
    const [one, two] = [await enter(me), await me.open(URL)];
    await one.isGood("nothing yet");
    assert.deepEqual((await one.tabOrder(3)).map(name => name.trim()), ["log-out", "", "import"]);
    await one.press("button", "Import");
    for (const page of [one, two]) await isAt(page, 0.05);
    assert.equal(await one.run(() => document.activeElement.id), "file");
    await one.isGood("running");
    await one.reload();
    await isAt(one, 0.1);
    // What a page shows as done is committed.
    assert.ok(await done(one) <= await imported());
    await two.press("button", "Cancel");
    const lines = new RegExp("^([0-9,]+) lines are in\\.$");
    for (const page of [one, two]) await ended(page, "Cancelled", "lines are in.");
    const kept = await imported();
    assert.ok(kept > 0 && kept < 4000, String(kept));
    for (const page of [one, two]) {
      const [, said] = lines.exec(await page.run(() => document.querySelector("#message").textContent));
      assert.equal(Number(said.replace(",", "")), kept);
    }
    await one.isGood("cancelled");
    await one.reload();
    await ended(one, "Cancelled", "lines are in.");
    await one.press("button", `Go on from line ${(kept + 1).toLocaleString("en")}`);
    for (const page of [one, two]) await ended(page, "Done", "All prices are in.");
    assert.equal(await imported(), 4000);
    await two.isGood("done");
    for (const page of [one, two]) page.isQuiet();
    await me.leave();
  });

  it("says which line has failed, keeps what was before it, and goes on behind it", async () => {
    await begin();
    const me = await browser().person();
    const page = await enter(me);
    await page.press("radio", "autumn.csv 4,000 lines, one of them wrong", "Space");
    await page.press("button", "Import");
    await ended(page, "Failed", "Line 2713: \"n/a\" is not a price. All lines before it are in.");
    assert.equal(await imported(), 2712);
    await page.isGood("failed");
    await page.press("button", "Skip line 2,713 and go on");
    await ended(page, "Done", "All prices are in.");
    assert.equal(await imported(), 3999);
    page.isQuiet();
    await me.leave();
  });

  it("goes on where a restart of the server has stopped it", async () => {
    await begin();
    const me = await browser().person();
    const [one, two] = [await enter(me), await me.open(URL)];
    await one.press("button", "Import");
    for (const page of [one, two]) await isAt(page, 0.05);
    await restart();
    for (const page of [one, two]) await ended(page, "Interrupted", "The server was restarted.");
    const kept = await imported();
    assert.ok(kept > 0 && kept < 4000, String(kept));
    await one.isNarrow("interrupted");
    await one.isAccessible("interrupted");
    await stop();
    await one.press("button", "Import");
    await one.says("#problem", "cannot be reached");
    await start();
    await two.press("button", `Go on from line ${(kept + 1).toLocaleString("en")}`);
    for (const page of [one, two]) await ended(page, "Done", "All prices are in.");
    assert.equal(await imported(), 4000);
    for (const page of [one, two]) {
      page.forgive(AWAY);
      page.isQuiet();
    }
    await me.leave();
  });

  it("hides an import with a logout, in every tab, and shows it to its user again", async () => {
    await begin();
    const me = await browser().person();
    const stranger = await me.open(URL);
    await stranger.until(() => document.querySelector("#import").disabled && !document.querySelector("#badge").hidden);
    await stranger.isGood("nobody");
    await stranger.write("Badge", "no such badge");
    await stranger.key("Enter");
    await stranger.until(() => document.querySelector("#problem").textContent !== "");
    stranger.forgive(/status of 401/);
    const [one, two] = [await enter(me), stranger];
    // The other tab has heard of the login.
    await two.says("#name", "Ada");
    await one.press("button", "Import");
    for (const page of [one, two]) await isAt(page, 0.02);
    await two.press("button", "Log out");
    for (const page of [one, two]) {
      await page.until(() => document.querySelector("#job").hidden && document.querySelector("#import").disabled);
      await page.until(() => !document.querySelector("#badge").hidden);
    }
    const before = await imported();
    await one.isAccessible("after a logout");
    // It goes on, and is nobody's business but that of its user.
    await eventually(async () => await imported() > before);
    await one.write("Badge", "ben-1984");
    await one.key("Enter");
    await two.says("#name", "Ben");
    for (const page of [one, two]) await page.until(() => document.querySelector("#job").hidden && !document.querySelector("#import").disabled);
    await one.press("button", "Log out");
    await two.until(() => !document.querySelector("#badge").hidden);
    await two.write("Badge", "ada-1815");
    await two.key("Enter");
    for (const page of [one, two]) await ended(page, "Done", "All prices are in.");
    assert.equal(await imported(), 4000);
    for (const page of [one, two]) {
      // Of the stream that began anew as nobody.
      page.forgive(/status of 401/);
      page.isQuiet();
    }
    await me.leave();
  });

  it("shows nothing of it to a stranger", async () => {
    await begin();
    const [me, stranger] = [await browser().person(), await browser().person()];
    const page = await enter(me);
    await page.press("button", "Import");
    await isAt(page, 0.02);
    const theirs = await enter(stranger, "ben-1984");
    assert.ok(await theirs.run(() => document.querySelector("#job").hidden));
    await page.press("button", "Cancel");
    await page.shows("#state", "Cancelled");
    for (const person of [me, stranger]) await person.leave();
  });
});
