// node screenshot.mjs NAME FILE: the page of an example, with something on it, as README and docs show it. For
// `cargo xtask screenshots`, which has the example on a server at PG_SSE_URL.

import { Browser } from "./browser.mjs";

const [name, file] = process.argv.slice(2);

/** A scene opens the page, uses it, and answers the tab that is to be shown. */
const { default: scene, SIZE } = await import(`./scenes/${name}.mjs`);

const browser = await Browser.open("chromium");
try {
  const page = await scene(browser, process.env.PG_SSE_URL);
  await page.scheme("light");
  await page.resize({ deviceScaleFactor: 1.5, ...SIZE });
  // Neither what is being animated nor a caret is the same in the next picture.
  await page.run(() => {
    document.activeElement?.blur();
    document.getAnimations().forEach(animation => animation.finish());
  });
  await page.screenshot(file);
} finally {
  await browser.close();
}
// Streams that a scene has opened would go on.
process.exit(0);
