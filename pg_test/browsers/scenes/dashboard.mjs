export const SIZE = { width: 1100, height: 860 };

export default async function scene(browser, url) {
  const page = await (await browser.person()).open(url);
  await page.says("#state", "Live");
  await page.write("Badge", "ada-1815");
  await page.key("Enter");
  await page.says("header", "Ada");
  await page.until(() => !document.querySelector(".intake button").disabled);
  await page.press("button", "Busy morning");
  await page.says("dl", "1 browser");
  await page.until(() => document.querySelectorAll("tbody tr").length === 12);
  return page;
}
