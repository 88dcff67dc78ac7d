export const SIZE = { width: 620, height: 640 };

export default async function scene(browser, url) {
  const page = await (await browser.person()).open(url);
  await page.press("button", "Import");
  await page.until(() => document.querySelector("progress").position > 0.6);
  return page;
}
