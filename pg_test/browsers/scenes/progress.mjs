export const SIZE = { width: 620, height: 640 };

export default async function scene(browser, url) {
  const page = await (await browser.person()).open(url);
  await page.write("Badge", "ada-1815");
  await page.key("Enter");
  await page.until(() => !document.querySelector("#import").disabled);
  await page.press("button", "Import");
  await page.until(() => document.querySelector("progress").position > 0.6);
  return page;
}
