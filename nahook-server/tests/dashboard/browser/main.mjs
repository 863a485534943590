// Runs one story in Chromium: node main.mjs STORY FACTS, where FACTS is JSON.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";

import * as stories from "./stories.mjs";

const require = createRequire(path.join(process.env.NAHOOK_BROWSER, "package.json"));
const { chromium } = require("playwright-core");
const axe = readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");

const [story, facts] = [process.argv[2], JSON.parse(process.argv[3])];
const troubles = [];

const browser = await chromium.launch({
  executablePath: process.env.NAHOOK_CHROMIUM ?? "/usr/bin/chromium",
  args: [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
  ],
});

// A page in a browser of its own, which notes everything that must not happen; but not these answers where the story is about them.
async function open({ refused = [], ...options } = {}) {
  const javaScriptEnabled = facts.javaScript ?? true;
  const context = await browser.newContext({ locale: "en-GB", timezoneId: "Europe/Berlin", javaScriptEnabled, ...options });
  context.setDefaultTimeout(120_000);
  const page = await context.newPage();
  const note = (what) => troubles.push(`${page.url()}: ${what}`);
  page.on("console", (message) => {
    // Browsers tell of every answer that says no.
    if (refused.some((status) => message.text().includes(`status of ${status}`))) return;
    note(`console ${message.type()}: ${message.text()}`);
  });
  page.on("pageerror", (error) => note(`error: ${error}`));
  page.on("dialog", (dialog) => (note(`dialog: ${dialog.message()}`), dialog.dismiss()));
  page.on("request", (request) => {
    if (!request.url().startsWith(facts.base) && !request.url().startsWith("blob:")) note(`request to ${request.url()}`);
  });
  return page;
}

// Fails if the page has a barrier that axe knows.
async function check(page) {
  // Not as a script of the page: its policy would forbid that.
  await page.evaluate(axe);
  const found = await page.evaluate(async () => (await globalThis.axe.run()).violations);
  const told = found.map(({ id, nodes }) => `${id}: ${nodes.map((node) => node.html).join(" ")}`);
  assert.deepEqual(told, [], page.url());
  const width = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
  assert.ok(width <= 0, `${page.url()} is ${width} pixels too wide`);
}

// Keeps a picture of the page, whole, under a name that the page and the window give it.
async function picture(page, scheme) {
  const { width } = page.viewportSize();
  const name = new URL(page.url()).pathname.replace(/(msg|del|evt)_[^/]*/, "$1").replaceAll(/[^a-z0-9]+/gi, "-");
  const file = path.join(process.env.NAHOOK_BROWSER_OUTPUT, `${story}${name}-${scheme}-${width}.png`);
  await page.screenshot({ path: file, fullPage: true });
}

async function signIn(page) {
  await page.goto(`${facts.base}/`);
  await page.getByLabel("Management token").fill(facts.token);
  await page.getByRole("button", { name: "Sign in" }).click();
  await page.getByRole("heading", { name: "Overview" }).waitFor();
}

// Loads the page again until the text is there.
async function until(page, text) {
  const end = Date.now() + 120_000;
  while (!(await page.getByText(text).first().isVisible())) {
    assert.ok(Date.now() < end, `${page.url()} never shows ${text}`);
    await page.waitForTimeout(200);
    await page.reload();
  }
}

let last;
try {
  const opened = async (options) => (last = await open(options));
  await stories[story]({ facts, open: opened, check, picture, signIn, until, assert });
  assert.deepEqual(troubles, []);
} catch (error) {
  const picture = path.join(process.env.NAHOOK_BROWSER_OUTPUT, `${story}.png`);
  await last?.screenshot({ path: picture, fullPage: true }).catch(() => {});
  console.error(error, troubles, last?.url(), await last?.locator("body").innerText().catch(() => ""));
  process.exitCode = 1;
} finally {
  await browser.close();
}
