// Chromium and Firefox, by one driver: Chromium by the protocol of its tools, Firefox by BiDi.
// Not for what a page must be like: page.mjs.

import puppeteer from "puppeteer-core";

import { Page } from "./page.mjs";

/** Where the environment says, else where Debian has them. */
const PATHS = {
  chromium: process.env.CHROMIUM ?? "/usr/bin/chromium",
  firefox: process.env.FIREFOX ?? "/usr/bin/firefox-esr",
};

export const NAMES = Object.keys(PATHS);

const OPTIONS = {
  chromium: {
    args: [
      // Tests may run as root, where Chromium has no sandbox; it sees our own pages alone.
      "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-quic", "--no-first-run",
      "--disable-background-networking", "--disable-component-update", "--disable-sync",
    ],
  },
  firefox: {
    // Whatever would call home.
    extraPrefsFirefox: {
      "app.update.enabled": false, "browser.safebrowsing.malware.enabled": false, "browser.safebrowsing.phishing.enabled": false,
      "datareporting.policy.dataSubmissionEnabled": false, "extensions.update.enabled": false,
      "network.captive-portal-service.enabled": false, "network.connectivity-service.enabled": false,
      "services.settings.server": "", "toolkit.telemetry.enabled": false,
    },
  },
};

export class Browser {
  #browser;

  constructor(name, browser) {
    this.name = name;
    this.#browser = browser;
  }

  /** `more` are arguments for Chromium. */
  static async open(name, more = []) {
    const options = { browser: name === "firefox" ? "firefox" : "chrome", executablePath: PATHS[name], headless: true };
    const args = [...(OPTIONS[name].args ?? []), ...more];
    return new Browser(name, await puppeteer.launch({ ...options, ...OPTIONS[name], args }));
  }

  /** Somebody with a profile of their own: tabs of one person share cookies, those of two do not. */
  async person() {
    return new Person(this.name, await this.#browser.createBrowserContext());
  }

  close() {
    return this.#browser.close();
  }
}

export class Person {
  #browser;
  #context;
  /** All tabs so far. */
  tabs = [];

  constructor(browser, context) {
    this.#browser = browser;
    this.#context = context;
  }

  /** A new tab with this page in it; `options` are those of a viewport. */
  async open(url, options = {}) {
    const tab = new Page(this.#browser, await this.#context.newPage());
    this.tabs.push(tab);
    await tab.resize(options);
    await tab.goto(url);
    return tab;
  }

  /** Closes the tabs. */
  async leave() {
    for (const tab of this.tabs.splice(0)) await tab.close();
    await this.#context.close();
  }
}
