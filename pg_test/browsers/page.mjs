// A page in a tab, as somebody uses it: by the names of its controls and by keyboard; and what is asked of every page.
// Not for which page does what: the tests.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";

const AXE = readFileSync(new URL("./node_modules/axe-core/axe.min.js", import.meta.url), "utf8");

/** Two busy cores, a browser on them, and a server that is restarted. */
const PATIENCE = 60_000;

/** What browsers say in red of a server that is away, or not there yet. */
const AWAY = /net::ERR_|status of 50[234]|NetworkError|connection to http\S* was interrupted|can.t establish a connection/;

/** Impacts that count. What is below is advice. */
const SERIOUS = ["serious", "critical"];

export class Page {
  #page;
  /** What was red in the console. */
  red = [];

  constructor(browser, page) {
    this.browser = browser;
    this.#page = page;
    page.on("console", message => {
      if (message.type() === "error") this.red.push(message.text());
    });
    page.on("pageerror", error => this.red.push(String(error)));
  }

  async goto(url) {
    await this.#page.goto(url);
  }

  async reload() {
    await this.#page.reload();
  }

  async close() {
    await this.#page.close();
  }

  /** Shows this tab. The others of the same window are hidden then: in Firefox those of all persons. */
  async front() {
    await this.#page.bringToFront();
  }

  /** A desktop, or what `options` say. */
  async resize(options) {
    await this.#page.setViewport({ width: 1000, height: 700, deviceScaleFactor: 1, ...options });
  }

  run(body, ...args) {
    return this.#page.evaluate(body, ...args);
  }

  /** Until nothing is asked for any more. */
  async idle() {
    await this.#page.waitForNetworkIdle({ idleTime: 300 });
  }

  async screenshot(path) {
    await this.#page.screenshot({ path });
  }

  /** Light or dark. Firefox has no command for it. */
  async scheme(value) {
    await this.#page.emulateMediaFeatures([{ name: "prefers-color-scheme", value }]);
  }

  /** Waits until `is` answers true, in the page. */
  async until(is, ...args) {
    await eventually(async () => {
      // While a page loads there may be nothing to ask yet.
      const found = await this.#page.evaluate(is, ...args).catch(() => false);
      return found === true;
    }, async () => `${is} ${JSON.stringify(args)}\n${await this.text().catch(String)}\nred: ${this.red.join("\n")}`);
  }

  text() {
    return this.#page.evaluate(() => document.body.innerText);
  }

  /** Waits until the texts of all elements that fit are these. */
  shows(selector, ...texts) {
    const is = (selector, texts) => {
      const found = [...document.querySelectorAll(selector)].map(element => element.textContent);
      return found.length === texts.length && found.every((text, at) => text === texts[at]);
    };
    return this.until(is, selector, texts);
  }

  /** Waits until a text is somewhere in an element. */
  says(selector, text) {
    return this.until((selector, text) => document.querySelector(selector)?.textContent.includes(text) ?? false, selector, text);
  }

  async saysNot(text) {
    assert.ok(!(await this.text()).includes(text), `the page says ${text}`);
  }

  /** A control by its kind and the name that a screen reader says: of a label, or of its own. */
  async control(role, name) {
    await this.#page.bringToFront();
    let control;
    const find = async () => {
      const found = await this.#page.evaluateHandle((role, name) => {
        const kinds = {
          button: "button", combobox: "select", radio: "input[type=radio]",
          textbox: "textarea, input:not([type]), input[type=text], input[type=password], input[type=search]",
        };
        const nameOf = element => element.ariaLabel
          || [...(element.labels ?? [])].map(label => label.textContent.trim()).join(" ") || element.textContent.trim();
        return [...document.querySelectorAll(kinds[role])].find(
          element => element.offsetParent !== null && nameOf(element) === name);
      }, role, name).catch(() => null);
      control = found?.asElement();
      return !!control;
    };
    await eventually(find, async () => `${role} ${name}\n${await this.text()}`);
    return control;
  }

  /** Writes into the field of this name, in place of what is there. */
  async write(name, text) {
    const field = await this.control("textbox", name);
    await field.evaluate(element => element.select());
    // Key by key, unless that takes too long.
    if (text.length < 40) await field.type(text);
    else await field.evaluate((element, text) => { element.value = text; }, text);
  }

  /** Goes to the control of this name, and presses a key: Enter and Space press buttons. */
  async press(role, name, key = "Enter") {
    const control = await this.control(role, name);
    await control.focus();
    await this.key(key);
  }

  async key(name) {
    // The name that BiDi does not know.
    await this.#page.keyboard.press(name === "Space" ? " " : name);
  }

  /** What Tab leads to from the beginning of the page on, by id, or by what it says. */
  async tabOrder(count) {
    // What had the focus last is where Tab would go on from.
    await this.run(() => {
      document.body.tabIndex = -1;
      document.body.focus();
      document.body.removeAttribute("tabindex");
    });
    const order = [];
    for (let at = 0; at < count; at++) {
      await this.key("Tab");
      order.push(await this.run(() => document.activeElement?.id || document.activeElement?.ariaLabel || document.activeElement?.textContent));
    }
    return order;
  }

  /** Waits until the page says that it is connected, after a server was away; what was red for that does not count. */
  async isBack() {
    await this.until(() => document.querySelector("#state").dataset.is === "live");
    this.red = this.red.filter(line => !AWAY.test(line));
  }

  /** What is asked of every page, in each of its states. */
  async isGood(state = "") {
    await this.#page.bringToFront();
    await this.isAccessible(state);
    await this.isNarrow(state);
    this.isQuiet();
  }

  /** Nothing serious in the rules of axe, light and dark. */
  async isAccessible(state) {
    // As the browser's tools do, which a page's own policy does not forbid.
    if (!(await this.run(() => !!window.axe))) await this.#page.evaluate(AXE);
    const { violations } = await this.run(async () => {
      // What is being animated has the colours of another moment.
      document.getAnimations().forEach(animation => animation.finish());
      return window.axe.run(document, { resultTypes: ["violations"] });
    });
    const serious = violations.filter(({ impact }) => SERIOUS.includes(impact));
    const told = serious.map(({ id, help, nodes }) => `${id}: ${help}: ${nodes.map(({ html }) => html).join(" ")}`);
    assert.deepEqual(told, [], `${state} in ${this.browser}`);
    if (this.browser === "chromium" && state !== "dark") {
      await this.scheme("dark");
      await this.isAccessible("dark");
      await this.scheme("light");
    }
  }

  /** No scrolling sideways on a narrow phone. */
  async isNarrow(state) {
    await this.resize({ width: 360, height: 640 });
    // BiDi answers before the page has its new size.
    await this.until(() => innerWidth === 360);
    const wide = await this.run(() => {
      const width = document.documentElement.scrollWidth;
      const out = [...document.querySelectorAll("body *")].filter(element => element.getBoundingClientRect().right > 361);
      return width > 360 ? `${width}: ${out.map(element => element.outerHTML.slice(0, 100)).join("\n")}` : "";
    });
    await this.resize({});
    assert.equal(wide, "", `${state} at 360 px in ${this.browser}`);
  }

  isQuiet() {
    assert.deepEqual(this.red, [], `the console in ${this.browser}`);
  }

  /** Forgives what the browser says in red of a refusal that the test wanted. */
  forgive(pattern) {
    this.red = this.red.filter(line => !pattern.test(line));
  }
}

/** Until it is true; fails with what it was. */
export async function eventually(is, what = () => String(is)) {
  const end = Date.now() + PATIENCE;
  while (!(await is())) {
    if (Date.now() > end) throw new Error(`not in time: ${await what()}`);
    await new Promise(resolve => setTimeout(resolve, 30));
  }
}
