export const SIZE = { width: 860, height: 484 };

const LETTERS = [
  ["Autumn issue", "Three streams, two tabs, one connection. What changed since summer, and what is next."],
  ["Maintenance on Sunday", "Postgres is restarted at nine. Open pages come back by themselves, and miss nothing."],
];

export default async function scene(browser, url) {
  const page = await (await browser.person()).open(url);
  for (const [title, content] of LETTERS) {
    await page.write("Title", title);
    await page.write("Text", content);
    await page.press("button", "Publish");
    await page.says("#letters", title);
    await page.until(() => document.querySelector("#title").value === "");
  }
  return page;
}
