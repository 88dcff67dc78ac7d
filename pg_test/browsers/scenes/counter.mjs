export const SIZE = { width: 480, height: 400 };

export default async function scene(browser, url) {
  const page = await (await browser.person()).open(url);
  await page.shows("output", "0");
  for (let at = 0; at < 42; at++) await page.press("button", "Count up");
  await page.shows("output", "42");
  return page;
}
