// What people do with the pages, one function each.

const OPERATORS = [
  "", "/events", "/endpoints", "/endpoints/new", "/event-types", "/environments", "/applications", "/keys", "/audit", "/system",
  "/trigger", "/search",
];

// From the printed link to the first webhook that is seen to arrive.
export async function first_start({ facts, open, check, until, assert }) {
  const page = await open({ viewport: { width: 1280, height: 800 } });
  await page.goto(facts.link);
  await page.getByRole("button", { name: "Open the dashboard" }).click();
  await page.getByRole("link", { name: "Trigger the first one" }).click();
  await page.getByRole("button", { name: "Check who gets it" }).click();
  await page.getByRole("button", { name: /Trigger now: 2 deliveries/ }).click();
  await page.getByRole("status").waitFor();
  await until(page, "Delivered");
  await page.getByRole("link", { name: "Overview" }).click();
  await until(page, "2 delivered");
  await until(page, /Taken: 2, Not taken: 0/);
  await check(page);
  if (facts.picture) await page.screenshot({ path: facts.picture });
  // The link is used up.
  const other = await open({ refused: [401] });
  await other.goto(facts.link);
  await other.getByRole("button", { name: "Open the dashboard" }).click();
  assert.match(await other.getByRole("alert").innerText(), /used before/);
}

// Why an endpoint fails, in three clicks; then it is moved, enabled and gets what it has missed.
export async function failing_endpoint({ facts, open, check, signIn, until }) {
  const page = await open();
  await signIn(page);
  await page.getByRole("link", { name: "Endpoints", exact: true }).click();
  await page.getByRole("link", { name: facts.broken }).click();
  await until(page, /The receiver answered 410/);
  await page.getByRole("link", { name: "see the attempt" }).click();
  await page.getByText("Why it was not taken").waitFor();
  await page.getByText("The request").first().click();
  await page.getByText(`POST ${facts.broken}`).first().waitFor();
  await page.getByText(/webhook-signature: v1,[A-Za-z0-9+/]{43}=/).first().waitFor();
  await page.getByText("The answer").first().click();
  await page.getByText("<h1>This shop has moved</h1>").first().waitFor();

  await page.getByRole("link", { name: facts.broken }).click();
  await page.getByRole("link", { name: "Change", exact: true }).click();
  await page.getByLabel("URL").fill(facts.mended);
  await page.getByRole("button", { name: "Save" }).click();
  await page.getByRole("button", { name: "Enable" }).click();
  await page.getByRole("link", { name: "Retry failed deliveries" }).click();
  await page.getByLabel("Accepted in").selectOption("1h");
  await page.getByRole("button", { name: "Queue them again" }).click();
  await page.getByText(/Deliveries queued again: [1-3]/).waitFor();
  await page.getByRole("link", { name: "Delivered", exact: true }).click();
  await until(page, /^del_/);
  // And once more, as a new delivery.
  await page.getByRole("link", { name: /^del_/ }).first().click();
  const first = page.url();
  await page.getByRole("button", { name: "Send again as a new delivery" }).click();
  await page.getByText("Queued as a new delivery").waitFor();
  if (page.url().startsWith(first)) throw new Error("it is the same delivery");
  await until(page, "A receiver took it");
  // Both are counted within seconds, for the endpoint and for all.
  await page.getByRole("link", { name: facts.mended }).click();
  await until(page, /Taken: [2-9], Not taken: [1-9]/);
  await check(page);
  await page.getByRole("link", { name: "Overview", exact: true }).click();
  for (const span of ["Last hour", "Last day", "Last week"]) {
    await page.getByRole("link", { name: span, exact: true }).click();
    // The first and the one that was sent again; the others may have found no endpoint that is enabled.
    await until(page, /Accepted: [2-9]/);
    await page.getByText("The numbers of the chart: attempts").click();
    await page.getByRole("region", { name: "Attempts over time" }).waitFor();
    await check(page);
  }
}

// Everything that an operator makes, changes and removes.
export async function every_action({ facts, open, signIn, until, assert }) {
  const page = await open();
  await signIn(page);
  const go = (path) => page.goto(`${facts.base}/dashboard${path}`);
  const press = (name) => page.getByRole("button", { name, exact: true }).click();
  const follow = (name) => page.getByRole("link", { name, exact: true }).click();
  const done = (text) => page.getByRole("status").getByText(text).waitFor();

  await go("/event-types");
  await page.getByLabel("Name").fill("invoice.sent");
  await press("Add it");
  await done("Created.");
  await follow("invoice.sent");
  await page.getByLabel("Description").fill("An invoice has left");
  await press("Save");
  await done("Saved.");

  await go("/environments");
  await page.getByLabel("Name").last().fill("Staging");
  await page.getByLabel("Slug").fill("staging");
  await press("Add it");
  await done("Created.");
  await page.getByLabel("invoice.sent in Staging").check();
  await page.getByRole("button", { name: "Save" }).click();
  await done("Saved.");
  assert.ok(await page.getByLabel("invoice.sent in Staging").isChecked());

  await go("/applications");
  await page.getByLabel("Name").fill("Umbrella");
  await page.getByLabel("External id").fill("umbrella-1");
  await press("Add it");
  await done("Created.");
  await page.getByLabel("Endpoints at most").fill("3");
  await press("Save");
  await done("Saved.");
  await follow("Add an endpoint");
  await page.getByLabel("URL").fill(facts.url);
  await page.getByLabel("Description").fill("Umbrella's");
  await press("Add the endpoint");
  await done("Created.");
  await page.getByLabel("invoice.sent").check();
  await page.getByLabel("Add a pattern").fill("order.*");
  await press("Save");
  await done("The subscriptions were saved.");
  const endpoint = new URL(page.url()).pathname;

  await press("Send a test event");
  await done("The test event is queued.");
  await until(page, "A receiver took it");

  await page.goto(`${facts.base}${endpoint}`);
  await press("Show the secret");
  const secret = await page.getByText(/^whsec_/).innerText();
  await follow("Done");
  await follow("Rotate it");
  await press("Rotate the secret");
  await done(/The secret was rotated/);
  await press("Show the secret");
  assert.notEqual(await page.getByText(/^whsec_/).innerText(), secret);
  await follow("Done");
  await follow("Disable");
  await page.getByText("0 deliveries are waiting").waitFor();
  await press("Disable the endpoint");
  await done(/Disabled/);
  await press("Enable");
  await done("Enabled.");
  await follow("Delete");
  await page.getByText("0 deliveries are waiting").waitFor();
  await press("Delete the endpoint");
  await done("Deleted.");

  await go("/keys");
  await page.getByLabel("Name").first().fill("shop 2");
  await press("Make the key");
  await page.getByText(/^nhk_us_[0-9a-f]{64}$/).waitFor();
  await follow("Done");
  const row = page.getByRole("row", { name: /shop 2/ });
  await row.getByRole("button", { name: "Disable" }).click();
  await done("Saved.");
  await row.getByRole("button", { name: "Enable" }).click();
  await done("Saved.");
  await row.getByRole("link", { name: "Revoke" }).click();
  await press("Revoke the API key");
  await row.getByText("Revoked").waitFor();
  await page.getByLabel("Name").last().fill("colleague");
  await press("Make the token");
  const token = await page.getByText(/^nhm_[0-9a-f]{64}$/).innerText();

  // The colleague's session ends with the token.
  const other = await open();
  await other.goto(`${facts.base}/dashboard/sign-in`);
  await other.getByLabel("Management token").fill(token);
  await other.getByRole("button", { name: "Sign in" }).click();
  await other.getByRole("heading", { name: "Overview" }).waitFor();
  await go("/keys");
  await page.getByRole("row", { name: /colleague/ }).getByRole("link", { name: "Revoke" }).click();
  await press("Revoke the management token");
  await done("Saved.");
  await other.goto(`${facts.base}/dashboard/events`);
  await other.getByRole("heading", { name: "Sign in" }).waitFor();

  await go("/applications");
  await follow("Umbrella");
  await follow("Delete");
  await press("Delete the application");
  await done("Deleted.");
  await go("/environments");
  await follow("Delete");
  await press("Delete the environment");
  await done("Deleted.");
  await go("/event-types");
  await follow("invoice.sent");
  await follow("Delete");
  await press("Delete the event type");
  await done("Deleted.");

  await go("/audit?action=endpoint.secret_rotated");
  await page.getByText("1 entries").waitFor();
  await go("/events?q=order%3D1");
  await page.getByText("There is none here.").waitFor();
  await go("/events");
  await page.getByRole("searchbox").fill("reminder of order 7");
  await press("Search");
  await page.getByRole("link", { name: /^msg_/ }).click();
  await page.getByRole("link", { name: /^Attempts/ }).click();
  await page.getByText("reminder of order 7").waitFor();
  await go("/events?q=reminder+of+order+8");
  await page.getByText("There is none here.").waitFor();
  await go("/keys");
  await press("Sign out everywhere");
  await page.getByRole("heading", { name: "Signed out" }).waitFor();
  await go("/");
  await page.getByRole("heading", { name: "Sign in" }).waitFor();
}

// A customer in each role, and nothing of anybody else.
export async function portal_roles({ facts, open, check, signIn, until, assert }) {
  const operator = await open();
  await signIn(operator);
  await operator.goto(`${facts.base}/dashboard/applications`);
  await operator.getByLabel("Name").fill("Acme");
  await operator.getByRole("button", { name: "Add it" }).click();
  await operator.getByRole("status").waitFor();
  const application = operator.url();
  const enter = async (role) => {
    await operator.goto(application);
    await operator.getByLabel("Role").selectOption(role);
    await operator.getByRole("button", { name: "Make a link to the portal" }).click();
    const link = await operator.getByText(/\/portal\?code=/).innerText();
    assert.ok(link.startsWith(facts.base), link);
    const page = await open();
    await page.goto(link);
    await page.getByRole("heading", { name: "Endpoints" }).waitFor();
    return page;
  };

  const admin = await enter("admin");
  await admin.getByText("Acme Hooks").waitFor();
  assert.match(await admin.title(), /Acme Hooks/);
  const line = await admin.evaluate(() => getComputedStyle(document.body).borderTopColor);
  assert.equal(line, "rgb(170, 51, 119)");
  await admin.getByRole("link", { name: "Add an endpoint" }).click();
  await admin.getByLabel("URL").fill(facts.url);
  await admin.getByRole("button", { name: "Add the endpoint" }).click();
  await admin.getByLabel("order.paid").check();
  await admin.getByRole("button", { name: "Save" }).click();
  await admin.getByRole("button", { name: "Send a test event" }).click();
  await until(admin, "A receiver took it");
  await check(admin);

  const editor = await enter("editor");
  await editor.getByRole("link", { name: facts.url }).click();
  for (const name of ["Show the secret", "Delete", "Rotate it"]) {
    assert.equal(await editor.getByText(name, { exact: true }).count(), 0, name);
  }
  await editor.getByRole("link", { name: "Change", exact: true }).click();
  await editor.getByLabel("Description").fill("Ours");
  await editor.getByRole("button", { name: "Save" }).click();
  await editor.getByText("Saved.").waitFor();
  await check(editor);

  const viewer = await enter("viewer");
  assert.equal(await viewer.getByRole("link", { name: "Add an endpoint" }).count(), 0);
  await viewer.getByRole("link", { name: facts.url }).click();
  assert.equal(await viewer.getByRole("button", { name: "Send a test event" }).count(), 0);
  await viewer.getByRole("link", { name: /^del_/ }).first().click();
  await viewer.getByText("The receiver answered 200").waitFor();
  assert.equal(await viewer.getByText("ep_shop").count(), 0);
  await check(viewer);
  await viewer.getByRole("link", { name: "Event types" }).click();
  await viewer.getByText("order.paid").waitFor();
  await check(viewer);
  const answer = await viewer.request.get(`${facts.base}/portal/endpoints/ep_shop`);
  assert.equal(answer.status(), 404);

  // A session with a look of its own, whatever that says.
  const name = "</title><script>alert(1)</script>";
  const id = new URL(application).pathname.split("/").pop();
  const made = await operator.request.post(`${facts.base}/management/v1/workspaces/ws_shop/applications/${id}/portal`, {
    headers: { authorization: `Bearer ${facts.token}` },
    data: { role: "viewer", metadata: { portal_name: name, portal_logo: "Ü", portal_accent: "#119944" } },
  });
  const own = await open();
  await own.goto((await made.json()).url);
  await own.getByText(name).waitFor();
  assert.ok((await own.title()).endsWith(name));
  const colour = await own.evaluate(() => getComputedStyle(document.body).borderTopColor);
  assert.equal(colour, "rgb(17, 153, 68)");
  await check(own);
}

async function every_page(page, facts) {
  const paths = OPERATORS.map((path) => `/dashboard${path}`);
  for (const ends of ["", "/edit", "/subscriptions", "/retry", "/rotate", "/disable", "/delete"]) {
    paths.push(`/dashboard/endpoints/ep_shop${ends}`);
  }
  for (const list of ["/dashboard/events", "/dashboard/endpoints/ep_shop", "/dashboard/event-types"]) {
    await page.goto(`${facts.base}${list}`);
    const link = page.locator("tbody th a").first();
    paths.push(await link.getAttribute("href"));
  }
  return paths;
}

// Opens a portal of an application of that name in a role.
async function portal_of({ facts, open }, name, role, options) {
  const management = `${facts.base}/management/v1/workspaces/ws_shop/applications`;
  const page = await open(options);
  const call = { headers: { authorization: `Bearer ${facts.token}` } };
  const applications = await (await page.request.get(management, call)).json();
  const { id } = applications.find((application) => application.name === name);
  const made = await page.request.post(`${management}/${id}/portal`, { ...call, data: { role } });
  await page.goto((await made.json()).url);
  await page.getByRole("heading", { name: "Endpoints" }).waitFor();
  return page;
}

// Pages that say no, to operators and to customers.
export async function refusals({ facts, open, check, picture, signIn, assert }) {
  for (const [colorScheme, width] of [["light", 320], ["dark", 1280]]) {
    const options = { colorScheme, viewport: { width, height: 640 } };
    const page = await open({ ...options, refused: [400, 401, 404] });
    const says = async (text) => {
      await page.getByText(text).first().waitFor();
      await check(page);
      await picture(page, colorScheme);
    };
    await page.goto(`${facts.base}/dashboard/sign-in`);
    await page.getByLabel("Management token").fill("nhm_wrong");
    await page.getByRole("button", { name: "Sign in" }).click();
    await page.getByRole("alert").waitFor();
    await check(page);
    await signIn(page);
    for (const path of ["/endpoints/ep_none", "/nothing", "/events/msg_none", "/keys/key_none/revoke"]) {
      await page.goto(`${facts.base}/dashboard${path}`);
      await says("There is no such page.");
    }
    await page.goto(`${facts.base}/dashboard/events?until=yesterday`);
    await says("The time is one such as");
    await page.goto(`${facts.base}/dashboard/endpoints/new`);
    await page.getByLabel("URL").fill("gopher://nowhere.example/");
    await page.getByRole("button", { name: "Add the endpoint" }).click();
    await says("That did not work");
    // What was entered is there still.
    await page.goBack();
    assert.equal(await page.getByLabel("URL").inputValue(), "gopher://nowhere.example/");

    const stranger = await open({ ...options, refused: [400, 401, 404] });
    for (const path of ["/portal?code=nhc_used", "/portal/endpoints", "/portal/nothing"]) {
      await stranger.goto(`${facts.base}${path}`);
      await stranger.getByRole("heading").first().waitFor();
      await check(stranger);
      await picture(stranger, colorScheme);
    }
    const viewer = await portal_of({ facts, open }, "Acme", "viewer", { ...options, refused: [403, 404] });
    for (const path of ["/endpoints/ep_shop/edit", "/endpoints/ep_shop/delete", "/endpoints/ep_other"]) {
      await viewer.goto(`${facts.base}/portal${path}`);
      await viewer.getByText(/Your role does not allow this|There is no such page/).waitFor();
      await check(viewer);
    }
  }
}

// A page that is open shows what happens, and has buttons that copy.
export async function stays_current({ facts, open, signIn, assert }) {
  const page = await open({ permissions: ["clipboard-read", "clipboard-write"] });
  await signIn(page);
  await page.evaluate(() => (globalThis.isTheSame = true));
  const triggered = await page.request.post(`${facts.base}/api/ingest/event/order.paid`, {
    headers: { authorization: `Bearer ${facts.key}` },
    data: { payload: { order: 7 } },
  });
  assert.equal(triggered.status(), 202);
  await page.getByText("1 delivered").waitFor();
  await page.getByText("Taken: 1, Not taken: 0").first().waitFor();
  assert.ok(await page.evaluate(() => globalThis.isTheSame), "it was loaded anew");
  assert.doesNotMatch(await page.locator("time").first().innerText(), /UTC/);

  await page.getByRole("link", { name: /^msg_/ }).click();
  const copied = async (what) => {
    await page.getByRole("button", { name: `Copy ${what}` }).click();
    await page.getByRole("button", { name: `Copy ${what}` }).getByText("Copied").waitFor();
    return page.evaluate(() => navigator.clipboard.readText());
  };
  assert.equal(await copied("the id"), new URL(page.url()).pathname.split("/").pop());
  assert.equal(await copied("the payload"), '{"order":7}');
  // Where browsers have no clipboard, they have a command.
  await page.evaluate(() => Object.defineProperty(navigator, "clipboard", { value: undefined }));
  await page.getByRole("button", { name: "Copy the id" }).click();
  await page.getByRole("button", { name: "Copy the id" }).getByText("Copied").waitFor();
}

// Dark, light and narrow; without a script; by keyboard alone.
export async function for_everybody({ facts, open, check, picture, signIn, assert }) {
  for (const colorScheme of ["light", "dark"]) {
    for (const width of [320, 1280]) {
      const page = await open({ colorScheme, viewport: { width, height: 800 } });
      await page.goto(`${facts.base}/dashboard/sign-in`);
      await check(page);
      await signIn(page);
      for (const path of await every_page(page, facts)) {
        await page.goto(`${facts.base}${path}`);
        await check(page);
        await picture(page, colorScheme);
      }
      const customer = await portal_of({ facts, open }, "Acme", "admin", { colorScheme, viewport: { width, height: 800 } });
      for (const path of [
        "", "/new", "/ep_shop", "/ep_shop/edit", "/ep_shop/subscriptions", "/ep_shop/retry", "/ep_shop/rotate", "/ep_shop/disable", "/ep_shop/delete",
      ]) {
        await customer.goto(`${facts.base}/portal/endpoints${path}`);
        await check(customer);
        await picture(customer, colorScheme);
      }
      await customer.goto(`${facts.base}/portal/endpoints/ep_shop`);
      await customer.getByRole("link", { name: /^del_/ }).first().click();
      await check(customer);
      await picture(customer, colorScheme);
    }
  }

  const plain = await open({ javaScriptEnabled: false });
  await signIn(plain);
  await plain.goto(`${facts.base}/dashboard/event-types`);
  await plain.getByLabel("Name").fill("made.without");
  await plain.getByRole("button", { name: "Add it" }).click();
  await plain.getByText("made.without").waitFor();
  await plain.getByText(/ UTC$/).first().waitFor();

  // Times are the reader's, with the exact instant on hover.
  const page = await open();
  await signIn(page);
  const time = page.locator("time").first();
  assert.doesNotMatch(await time.innerText(), /UTC/);
  assert.match(await time.getAttribute("title"), /Z \(UTC\)$/);

  await page.goto(`${facts.base}/dashboard`);
  await page.keyboard.press("Tab");
  assert.equal(await page.evaluate(() => document.activeElement.textContent), "Skip to the content");
  const reach = async (text) => {
    for (let steps = 0; steps < 60; steps += 1) {
      await page.keyboard.press("Tab");
      if ((await page.evaluate(() => document.activeElement.textContent)).trim() === text) return;
    }
    throw new Error(`${text} cannot be reached by keyboard`);
  };
  await reach("Event types");
  await page.keyboard.press("Enter");
  await page.getByRole("heading", { name: "Add an event type" }).waitFor();
  await page.getByLabel("Name").focus();
  await page.keyboard.type("by.keyboard");
  await page.keyboard.press("Enter");
  await page.getByText("by.keyboard").waitFor();
}

// Texts of others are shown, and do nothing.
export async function hostile({ facts, open, check, signIn, assert }) {
  const evil = '"><script>alert(1)</script><img src=x onerror=alert(2)>\u202e';
  const page = await open();
  await signIn(page);
  await page.goto(`${facts.base}/dashboard/applications`);
  await page.getByLabel("Name").fill(evil);
  await page.getByLabel("Labels").fill(`<b>=${evil}`);
  await page.getByRole("button", { name: "Add it" }).click();
  await page.getByRole("heading", { name: "<script>alert(1)</script>" }).waitFor();
  await page.goto(`${facts.base}/dashboard/endpoints/ep_shop/edit`);
  await page.getByLabel("Description").fill(evil);
  await page.getByRole("button", { name: "Save" }).click();
  await page.getByText("<script>alert(1)</script>").first().waitFor();
  for (const path of await every_page(page, facts)) {
    await page.goto(`${facts.base}${path}`);
    await check(page);
    const html = await page.content();
    assert.ok(html.length < 100_000, `${path} has ${html.length} characters`);
  }
  await page.goto(`${facts.base}/dashboard/events`);
  await page.getByText("<b>").first().waitFor();
  for (const row of await page.locator("tbody th a").all()) {
    await page.goto(`${facts.base}${await row.getAttribute("href")}`);
    await check(page);
    await page.goBack();
  }
  // The receiver's answer, too.
  await page.goto(`${facts.base}/dashboard/endpoints/ep_shop`);
  await page.getByRole("link", { name: "see the attempt" }).click();
  await page.getByText("The answer").first().click();
  await page.getByText("</pre><script>alert(1)</script>").first().waitFor();
  await page.getByText("Only the start is kept.").first().waitFor();
  await check(page);
  await page.goto(`${facts.base}/dashboard/events?q=%3Cscript%3Ealert(1)%3C/script%3E%3D1`);
  await check(page);
  await page.goto(`${facts.base}/dashboard/endpoints?q=%22%3E%3Cscript%3Ealert(1)%3C/script%3E`);
  await check(page);
}

// A megabyte without a space, as payload and as answer, and the longest texts of everything else, on the narrowest page.
export async function endless_lines({ facts, open, check, signIn, until, assert }) {
  const page = await open({ viewport: { width: 320, height: 640 } });
  await signIn(page);
  await page.goto(`${facts.base}/dashboard/endpoints/ep_shop`);
  await until(page, /The receiver answered 500/);
  const paths = await every_page(page, facts);
  await page.goto(`${facts.base}/dashboard/endpoints/ep_shop`);
  for (const link of await page.locator("tbody th a").all()) paths.push(await link.getAttribute("href"));
  paths.push(`/dashboard/search?q=${"x".repeat(4_000)}`, `/dashboard/events?q=${"k".repeat(128)}%3D${"v".repeat(1_024)}`);
  for (const path of paths) {
    await page.goto(`${facts.base}${path}`);
    for (const closed of await page.locator("details > summary").all()) await closed.click();
    await check(page);
    const html = await page.content();
    assert.ok(html.length < 100_000, `${path} has ${html.length} characters`);
    // Nothing lies over what one wants to press.
    await page.getByRole("link", { name: "System" }).click();
    await page.getByRole("heading", { name: "System" }).waitFor();
  }
  // The payload is shown in part and whole as a file; of the answer the start is kept.
  await page.goto(`${facts.base}${paths.find((path) => path.includes("/deliveries/"))}`);
  await page.getByText(/^10000\d\d bytes, of which the first are shown/).waitFor();
  const download = page.waitForEvent("download");
  await page.getByRole("link", { name: "Download" }).click();
  const { size } = await import("node:fs").then(async ({ statSync }) => statSync(await (await download).path()));
  assert.ok(size > 1_000_000, `${size}`);
  await page.getByText("The answer").first().click();
  await page.getByText("Only the start is kept.").first().waitFor();
}

// "Why did Acme not get order 123?", by what the first page says alone.
export async function newcomer({ facts, open, check, signIn, until, assert }) {
  const page = await open({ viewport: { width: 320, height: 640 } });
  await signIn(page);
  const search = async (text) => {
    await page.goto(`${facts.base}/`);
    await page.getByRole("searchbox", { name: "Find a customer, an endpoint or an event" }).fill(text);
    await page.getByRole("button", { name: "Search" }).click();
  };
  // By the order: its event, the customer's line, the reason.
  for (const order of ["123", "order 123", "order=123"]) {
    await search(order);
    await page.getByRole("heading", { name: "order.paid" }).waitFor();
    await page.getByText("order=123").waitFor();
    const row = page.getByRole("row", { name: /Acme Corporation/ });
    await row.getByText(/Failed|Retrying/).waitFor();
    await page.getByRole("row", { name: /Umbrella/ }).waitFor();
    await check(page);
    await row.getByRole("link", { name: /^Attempts/ }).click();
    await page.getByText("Why it was not taken").waitFor();
    await page.getByText(/The receiver answered 500/).first().waitFor();
  }
  // By the customer: its endpoint, the reason, and the order in the list.
  for (const customer of ["acme corp", "acme", "/broken"]) {
    await search(customer);
    if (await page.getByRole("heading", { name: "Acme Corporation" }).isVisible()) {
      await page.getByRole("link", { name: /\/broken$/ }).click();
    }
    await page.getByText(/The receiver answered 500/).first().waitFor();
    const row = page.getByRole("row", { name: /order=123/ });
    await row.getByText(/Failed|Retrying/).waitFor();
  }
  await search("no such thing");
  await page.getByText("Nothing was found.").waitFor();
  await check(page);
  await search("order");
  await check(page);
  assert.equal(await page.getByText("Nothing was found.").count(), 1);
}
