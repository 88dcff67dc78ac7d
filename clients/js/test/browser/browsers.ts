// Chromium by Playwright and Firefox by BiDi (Debian's Firefox does not take Playwright), as the tests use both.

import { existsSync } from "node:fs";
import { chromium } from "playwright-core";
import puppeteer from "puppeteer-core";

export interface Tab {
  goto(url: string): Promise<unknown>;
  /** Runs this text in the page. */
  run<T>(code: string): Promise<T>;
  reload(): Promise<unknown>;
  close(): Promise<void>;
}

export interface Browser {
  /** Tabs of one profile share what an origin shares. */
  tab(): Promise<Tab>;
  /** Chromium alone: for the tabs that are open. */
  offline?(is: boolean): Promise<void>;
  close(): Promise<void>;
}

/** Where Debian has them, unless the environment says otherwise. */
export const PATHS = {
  chromium: process.env["CHROMIUM"] ?? "/usr/bin/chromium",
  firefox: process.env["FIREFOX"] ?? "/usr/bin/firefox-esr",
};

export type Name = keyof typeof PATHS;

export const isThere = (name: Name) => existsSync(PATHS[name]);

export const open = (name: Name): Promise<Browser> => (name === "chromium" ? openChromium() : openFirefox());

async function openChromium(): Promise<Browser> {
  const browser = await chromium.launch({
    executablePath: PATHS.chromium,
    args: [
      "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
      "--disable-component-update", "--disable-sync",
    ],
  });
  const context = await browser.newContext();
  return {
    async tab() {
      const page = await context.newPage();
      return {
        goto: (url) => page.goto(url),
        run: (code) => page.evaluate(code),
        reload: () => page.reload(),
        close: () => page.close(),
      };
    },
    offline: (is) => context.setOffline(is),
    close: () => browser.close(),
  };
}

async function openFirefox(): Promise<Browser> {
  const browser = await puppeteer.launch({
    browser: "firefox",
    executablePath: PATHS.firefox,
    headless: true,
    extraPrefsFirefox: {
      "app.update.enabled": false, "browser.safebrowsing.malware.enabled": false, "browser.safebrowsing.phishing.enabled": false,
      "datareporting.policy.dataSubmissionEnabled": false, "extensions.update.enabled": false, "network.captive-portal-service.enabled": false,
      "network.connectivity-service.enabled": false, "services.settings.server": "", "toolkit.telemetry.enabled": false,
    },
  });
  return {
    async tab() {
      const page = await browser.newPage();
      return {
        goto: (url) => page.goto(url),
        run: <T>(code: string) => page.evaluate(code) as Promise<T>,
        reload: () => page.reload(),
        close: () => page.close(),
      };
    },
    close: () => browser.close(),
  };
}
