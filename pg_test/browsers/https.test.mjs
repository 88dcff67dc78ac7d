// An EventSource of a page over HTTPS in Firefox, whose certificate an authority of the test has signed.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { Browser } from "./browser.mjs";
import { restart, sql, URL } from "./server.mjs";

let browser, person, page;

before(async () => {
  browser = await Browser.open("firefox");
  person = await browser.person();
  page = await person.open(`${URL}/index.html`);
});
after(() => browser?.close());

/** Waits until the page has heard this, in this order, and nothing else. */
const heard = (...wanted) => page.until(wanted => got.join() === wanted.join(), wanted);

test("events come over HTTPS, and again after the server has been away", async () => {
  assert.equal(await page.run(() => location.protocol), "https:");
  await page.run(() => {
    globalThis.got = [];
    globalThis.opened = 0;
    globalThis.source = new EventSource("/api/f/info");
    source.onmessage = event => got.push(event.data);
    source.addEventListener("sse.ready", () => (opened += 1));
  });
  await page.until(() => opened === 1);
  await sql("select f('one')");
  await heard("one");
  await restart();
  await page.until(() => opened === 2);
  await sql("select f('two')");
  await heard("one", "two");
});

test("another certificate takes its place under an open stream, and the next connection takes that", async () => {
  await sql(process.env.PG_SSE_RENEW);
  await sql("select f('three')");
  await heard("one", "two", "three");
  // After a restart no ticket is worth anything: the new certificate is shown and checked.
  await restart();
  await page.until(() => opened === 3);
  await sql("select f('four')");
  await heard("one", "two", "three", "four");
  assert.equal(await page.run(() => fetch("/healthz").then(answer => answer.status)), 200);
});
