import assert from "node:assert/strict";
import { it } from "node:test";

import { restart, sql, URL } from "./server.mjs";
import { inBrowsers } from "./suite.mjs";

const PASSWORDS = { alice: "password123", bob: "password456", carol: "password789" };

/** Without the heads. */
const texts = (page, ...wanted) => page.until(wanted => {
  const found = [...document.querySelectorAll("#messages li")].map(item => item.lastChild.textContent);
  return JSON.stringify(found) === JSON.stringify(wanted);
}, wanted);

async function login(page, name, password = PASSWORDS[name]) {
  await page.write("Name", name);
  await page.write("Password", password);
  await page.key("Enter");
}

async function say(page, text) {
  await page.write("Message", text);
  await page.key("Enter");
  await page.says("#messages", text);
}

inBrowsers(browser => {
  /** Somebody who has logged in. */
  async function someone(name) {
    const person = await browser().person();
    const page = await person.open(URL);
    await login(page, name);
    await page.says("#state", `${name}, live`);
    return { person, page };
  }

  it("two people talk, a second tab hears it too, and a restart loses nothing", async () => {
    await sql("truncate example_8.messages, example_8.private_messages restart identity");
    const { person: alice, page: one } = await someone("alice");
    const { person: bob, page: theirs } = await someone("bob");
    await say(one, "Hello, Bob");
    await say(theirs, "<b>Hello</b>, Alice");
    for (const page of [one, theirs]) await texts(page, "Hello, Bob", "<b>Hello</b>, Alice");
    const two = await alice.open(URL);
    await two.says("#state", "alice, live");
    await texts(two, "Hello, Bob", "<b>Hello</b>, Alice");
    await say(theirs, "w".repeat(300));
    for (const page of [one, two, theirs]) await texts(page, "Hello, Bob", "<b>Hello</b>, Alice", "w".repeat(300));
    await one.isGood("messages");
    assert.deepEqual((await one.tabOrder(3)).filter(Boolean), ["logout", "messages"]);

    await restart();
    for (const page of [one, two, theirs]) await page.isBack();
    await say(theirs, "after");
    for (const page of [one, two, theirs]) {
      await texts(page, "Hello, Bob", "<b>Hello</b>, Alice", "w".repeat(300), "after");
      await page.shows("#error", "");
    }
    // The logout of one tab is the logout of the other.
    await one.press("button", "Log out");
    for (const page of [one, two]) {
      await page.control("textbox", "Name");
      await page.saysNot("Hello, Bob");
    }
    await say(theirs, "alone");
    await texts(theirs, "Hello, Bob", "<b>Hello</b>, Alice", "w".repeat(300), "after", "alone");
    for (const page of [one, two, theirs]) page.isQuiet();
    // Another user in the same browser sees nothing of the last one's.
    await login(one, "bob");
    await one.says("#state", "bob, live");
    for (const person of [alice, bob]) await person.leave();
  });

  it("a stranger sees nothing", async () => {
    await sql("truncate example_8.messages, example_8.private_messages restart identity");
    const { person: alice, page } = await someone("alice");
    await say(page, "secret");
    await texts(page, "secret");
    const stranger = await browser().person();
    const theirs = await stranger.open(URL);
    await theirs.control("textbox", "Name");
    await theirs.isGood("login");
    await login(theirs, "alice", "guess");
    await theirs.says("#error", "Wrong name or password.");
    await theirs.saysNot("secret");
    const answers = await theirs.run(async () => {
      const paths = ["get-messages", "get-channel?channel=general", "get-private", "get-people", "send-message/info?general"];
      const answers = await Promise.all(paths.map(path => fetch(`/api/example-8/${path}`)));
      return answers.map(answer => answer.status);
    });
    assert.deepEqual(answers, [401, 401, 401, 401, 401]);
    theirs.forgive(/status of 401/);
    await theirs.isGood("refused");
    for (const person of [alice, stranger]) await person.leave();
  });

  it("hints and channels: one user, admins, or those who are in the channel", async () => {
    await sql("truncate example_8.messages, example_8.private_messages restart identity");
    const people = [await someone("alice"), await someone("bob"), await someone("carol")];
    const [alice, bob, carol] = people.map(({ page }) => page);
    await bob.press("radio", "team", "Space");
    await bob.says("#state", "bob, live");
    await say(alice, "to general");
    await say(bob, "to team");
    await texts(alice, "to general");
    await texts(bob, "to team");
    await texts(carol, "to general");
    // To one user, in whatever channel: neither the admin nor anybody else.
    await (await alice.control("combobox", "To")).select("bob");
    await say(alice, "to bob alone");
    await texts(bob, "to team", "to bob alone");
    await bob.says("#messages", "alice, to you alone");
    await texts(alice, "to general", "to bob alone");
    // To admins.
    await bob.press("radio", "general", "Space");
    await texts(bob, "to general", "to bob alone");
    await bob.press("button", "Report what alice wrote");
    await bob.says("#messages", "Reported");
    await texts(carol, "to general", "alice wrote: to general");
    await carol.says("#messages", "bob reports message 1");
    await say(carol, "read it");
    await texts(carol, "to general", "alice wrote: to general", "read it");
    await texts(alice, "to general", "to bob alone", "read it");
    await texts(bob, "to general", "to bob alone", "read it");
    // Kept, for those whom it is for.
    await bob.reload();
    await texts(bob, "to general", "to bob alone", "read it");
    await carol.isGood("a report");
    await bob.isGood("a private message");
    for (const page of [alice, bob, carol]) page.isQuiet();
    for (const { person } of people) await person.leave();
  });
});
