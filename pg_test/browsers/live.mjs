// node live.mjs URL KEY FOLDER: two windows of the counter, over HTTPS, open while the server is upgraded. For
// `cargo xtask administrator`, which has the counter at URL, at 1. KEY is the hash of the public key that may be
// trusted without an authority: Chromium has a list of its own for them. Files in FOLDER say how far we are.

import { existsSync, writeFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";

import { Browser } from "./browser.mjs";

const [url, key, folder] = process.argv.slice(2);
const name = new URL(url).hostname;
const tell = what => writeFileSync(`${folder}/${what}`, "");

async function told(what) {
  while (!existsSync(`${folder}/${what}`)) await sleep(100);
}

const browser = await Browser.open("chromium", [
  `--host-resolver-rules=MAP ${name} 127.0.0.1`, `--ignore-certificate-errors-spki-list=${key}`,
]);
try {
  const person = await browser.person();
  const windows = [await person.open(url), await person.open(url)];
  for (const page of windows) await page.shows("output", "1");
  await windows[0].press("button", "Count up");
  for (const page of windows) await page.shows("output", "2");
  tell("windows-are-live");
  await told("upgraded");
  for (const page of windows) await page.isBack();
  await windows[1].press("button", "Count up");
  for (const page of windows) await page.shows("output", "3");
  tell("windows-came-back");
} finally {
  await browser.close();
}
