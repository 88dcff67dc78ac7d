export const SIZE = { width: 560, height: 515 };

const POSTS = ["The trigger is in", "Deployed to staging", "All checks are green", "Hello from psql"];

export default async function scene(browser, url) {
  const page = await (await browser.person()).open(url);
  for (const post of POSTS) {
    await page.write("What is new?", post);
    await page.key("Enter");
    await page.says("#posts", post);
    await page.until(() => document.querySelector("input").value === "");
  }
  return page;
}
