import assert from "node:assert/strict";
import { it } from "node:test";

import { eventually } from "./page.mjs";
import { restart, sql, start, stop, URL } from "./server.mjs";
import { inBrowsers } from "./suite.mjs";

/** The rows of the table: destination and step. */
const shows = (page, ...rows) => page.until((...rows) => {
  const found = [...document.querySelectorAll("tbody tr")].map(row => {
    return `${row.querySelector("th").textContent} ${row.querySelector(".step").textContent}`;
  });
  return found.length === rows.length && rows.every((row, at) => row === found[at]);
}, ...rows);
/** A tile, by its name. */
const tile = (page, name, text) => page.until((name, text) => {
  const found = [...document.querySelectorAll("dt")].find(({ textContent }) => textContent === name);
  return found?.nextElementSibling.textContent === text;
}, name, text);
const idOf = destination => sql(`select id from depot.parcel where destination = '${destination}'`);

/** Logs in, in this and in every other tab. */
async function enter(page, code = "ada-1815", name = "Ada") {
  await page.write("Badge", code);
  await page.key("Enter");
  await page.says("header", name);
}

inBrowsers(browser => {
  it("shows what is in the table, whoever changes it, in two tabs, and survives a restart", async () => {
    await sql("delete from depot.parcel; insert into depot.parcel (destination, weight_kg) values ('Graz', 2.5), ('Lyon', 4)");
    const me = await browser().person();
    const [one, two] = [await me.open(URL), await me.open(URL)];
    for (const page of [one, two]) {
      await page.isBack();
      await shows(page, "Lyon arrived", "Graz arrived");
      await tile(page, "Weight", "7 kg");
    }
    await sql("insert into depot.parcel (destination, weight_kg, step) values ('<b>Porto</b>', 10, 'loaded')");
    await sql("update depot.parcel set step = 'sorted' where destination = 'Graz'");
    for (const page of [one, two]) {
      await shows(page, "<b>Porto</b> loaded", "Lyon arrived", "Graz sorted");
      await tile(page, "In the depot", "3 parcels");
    }
    await enter(one);
    await two.says("header", "Ada");
    for (const page of [one, two]) await shows(page, "<b>Porto</b> loaded", "Lyon arrived", "Graz sorted");

    // By the page, with the keyboard.
    await one.press("button", `Load parcel ${await idOf("Graz")} to Graz`);
    await one.press("button", `Deliver parcel ${await idOf("<b>Porto</b>")} to <b>Porto</b>`);
    for (const page of [one, two]) {
      await shows(page, "<b>Porto</b> delivered", "Lyon arrived", "Graz loaded");
      await tile(page, "Delivered", "1 in 30 min");
    }
    await two.write("To", "Turku", "combobox");
    await two.key("Enter");
    for (const page of [one, two]) await shows(page, "Turku arrived", "<b>Porto</b> delivered", "Lyon arrived", "Graz loaded");
    await two.until(() => document.querySelector("input").value === "");
    await one.press("button", "loaded 1");
    await shows(one, "Graz loaded");
    await one.isGood("one step");
    await one.press("button", "sorted 0");
    await one.isGood("none of a step");
    await one.press("button", "all 4");
    await sql("delete from depot.parcel where destination = 'Lyon'");
    for (const page of [one, two]) await shows(page, "Turku arrived", "<b>Porto</b> delivered", "Graz loaded");
    await one.isGood("parcels");
    await two.reload();
    await shows(two, "Turku arrived", "<b>Porto</b> delivered", "Graz loaded");

    await restart();
    await sql("update depot.parcel set step = 'sorted' where destination = 'Turku'");
    for (const page of [one, two]) {
      await shows(page, "Turku sorted", "<b>Porto</b> delivered", "Graz loaded");
      await page.isBack();
    }
    const id = await idOf("Turku");
    await stop();
    await one.press("button", `Load parcel ${id} to Turku`);
    await one.says("#problem", "cannot be reached");
    await start();
    for (const page of [one, two]) {
      await page.isBack();
      await page.front();
      await tile(page, "Looking on", "1 browser");
      page.isQuiet();
    }
    await me.leave();
  });

  it("says who was faster, and what the server refuses", async () => {
    await sql("delete from depot.parcel; insert into depot.parcel (destination, weight_kg) values ('Graz', 2.5)");
    const me = await browser().person();
    const page = await me.open(URL);
    await enter(page);
    await shows(page, "Graz arrived");
    // The change is on its way when the button is pressed: here it is one that no page hears of.
    await sql("alter table depot.parcel disable trigger tells; update depot.parcel set step = 'loaded'; alter table depot.parcel enable trigger tells");
    const id = await idOf("Graz");
    await page.press("button", `Sort parcel ${id} to Graz`);
    await page.says("#problem", `Somebody else has moved parcel ${id} already.`);
    page.forgive(/status of 409/);
    await page.isGood("a problem");
    await page.press("button", "Busy morning");
    await eventually(async () => Number(await sql("select count(*) from depot.parcel")) > 2);
    await page.shows("#problem", "");
    await page.isGood("a busy morning");
    await me.leave();
    // It goes on without the page, and would be in the way of what comes next.
    await sql("select pg_cancel_backend(pid) from pg_locks where locktype = 'advisory' and classid = 42");
    await eventually(async () => await sql("select count(*) from pg_locks where locktype = 'advisory'") === "0");
  });

  it("goes on for everybody after a logout, in every tab, and lets nobody do anything", async () => {
    await sql("delete from depot.parcel; insert into depot.parcel (destination, weight_kg) values ('Graz', 2.5)");
    const me = await browser().person();
    const [one, two] = [await me.open(URL), await me.open(URL)];
    const isOpen = (page, is) => page.until(is => {
      const buttons = [...document.querySelectorAll(".intake button, tbody button")];
      return buttons.length > 0 && buttons.every(({ disabled }) => disabled !== is);
    }, is);
    for (const page of [one, two]) {
      await shows(page, "Graz arrived");
      await isOpen(page, false);
    }
    await one.isGood("nobody");
    await one.write("Badge", "no such badge");
    await one.key("Enter");
    await one.until(() => document.querySelector("#problem").textContent !== "");
    one.forgive(/status of 401/);
    await enter(one);
    for (const page of [one, two]) await isOpen(page, true);
    await two.press("button", "Log out");
    for (const page of [one, two]) {
      await isOpen(page, false);
      await page.isBack();
    }
    await sql("update depot.parcel set step = 'sorted'");
    for (const page of [one, two]) await shows(page, "Graz sorted");
    await enter(two, "ben-1984", "Ben");
    await one.says("header", "Ben");
    await one.press("button", `Load parcel ${await idOf("Graz")} to Graz`);
    for (const page of [one, two]) {
      await shows(page, "Graz loaded");
      page.isQuiet();
    }
    await me.leave();
  });

  it("counts the browsers that look on, not their tabs", async () => {
    const [me, other] = [await browser().person(), await browser().person()];
    const one = await me.open(URL);
    await tile(one, "Looking on", "1 browser");
    const two = await me.open(URL);
    await tile(two, "Looking on", "1 browser");
    const theirs = await other.open(URL);
    for (const page of [two, theirs]) {
      await page.front();
      await tile(page, "Looking on", "2 browsers");
    }
    // A tab that nobody sees does not ask, and asks at once when it is seen.
    await tile(one, "Looking on", "1 browser");
    await one.front();
    await tile(one, "Looking on", "2 browsers");
    await other.leave();
    await tile(one, "Looking on", "1 browser");
    for (const page of [one, two]) page.isQuiet();
    await me.leave();
  });
});
