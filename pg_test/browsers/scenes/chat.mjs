export const SIZE = { width: 620, height: 560 };

const SAID = [
  ["alice", "Is the release out?"],
  ["bob", "Since noon. The notes are in the team channel."],
  ["alice", "Great. I have told everybody who waits for it."],
  ["carol", "Nice work, both of you!"],
];

export default async function scene(browser, url) {
  const pages = {};
  for (const [name, password] of [["alice", "password123"], ["bob", "password456"], ["carol", "password789"]]) {
    const page = pages[name] = await (await browser.person()).open(url);
    await page.write("Name", name);
    await page.write("Password", password);
    await page.key("Enter");
    await page.says("#state", `${name}, live`);
  }
  for (const [name, text] of SAID) {
    await pages[name].write("Message", text);
    await pages[name].key("Enter");
    await pages.bob.says("#messages", text);
  }
  await (await pages.alice.control("combobox", "To")).select("bob");
  await pages.alice.write("Message", "Lunch at one?");
  await pages.alice.key("Enter");
  await pages.bob.says("#messages", "Lunch at one?");
  return pages.bob;
}
