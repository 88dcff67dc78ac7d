// The inspector in both browsers: the token, what is shown and as what, what can be done, and what hours do to it.

import assert from "node:assert/strict";
import { it } from "node:test";

import { eventually } from "./page.mjs";
import { restart, sql, start, stop, URL } from "./server.mjs";
import { inBrowsers } from "./suite.mjs";

const TOKEN = process.env.PG_SSE_TOKEN;

/** Where streams and calls are. */
const PUBLIC = process.env.PG_SSE_PUBLIC_URL;

/** What whoever may write something writes, to become part of the page. */
const ATTACK = `<img src=x onerror="window.pwned=1">`;

const opened = () => `${URL}/#token=${encodeURIComponent(TOKEN)}`;

/** Somebody who listens, until they stop or are made to. */
async function listener(path, token = "") {
  const stopping = new AbortController();
  const headers = token ? { Authorization: `Bearer ${token}` } : {};
  const response = await fetch(PUBLIC + path, { headers: { ...headers, Accept: "text/event-stream" }, signal: stopping.signal });
  assert.equal(response.status, 200, path);
  const found = { stop: () => stopping.abort(), hasEnded: false };
  const read = async () => {
    for await (const piece of response.body) found.last = piece;
    found.hasEnded = true;
  };
  read().catch(() => {});
  return found;
}

inBrowsers(browser => {
  it("takes the token out of the address bar, keeps it for the tab, and says so when it is wrong", async () => {
    const me = await browser().person();
    const page = await me.open(`${URL}/`);
    await page.shows("#state", "No token");
    await page.isGood("without a token");
    await page.write("Token", "not the token of this server");
    await page.key("Enter");
    await page.says("#refused", "refuses this token");
    await page.shows("#state", "Wrong token");
    page.forgive(/401/);
    await page.isGood("with a wrong token");
    assert.equal(await page.run(() => document.querySelector("main").hidden), true);
    await page.write("Token", TOKEN);
    await page.key("Enter");
    await page.shows("#state", "Live");
    const other = await me.open(opened());
    await other.shows("#state", "Live");
    for (const tab of [page, other]) {
      assert.equal(await tab.run(() => location.href), `${URL}/`);
      assert.equal(await tab.run(token => document.documentElement.outerHTML.includes(token), TOKEN), false);
      // A tab in the background would not ask.
      await tab.front();
      await tab.reload();
      await tab.shows("#state", "Live");
    }
    assert.equal(await other.run(() => history.length <= 2 && !localStorage.length && !document.cookie), true);
    await other.press("button", "Forget token");
    await other.shows("#state", "No token");
    assert.equal(await other.run(() => sessionStorage.length), 0);
    await other.reload();
    await other.shows("#state", "No token");
    // The token of one tab is not another's.
    await (await me.open(`${URL}/`)).shows("#state", "No token");
    // A tab that was loaded again has a new stream before the server knows that the old one has gone.
    page.forgive(/429/);
    page.isQuiet();
    await me.leave();
  });

  // Attack: an event, its name, a topic, a path, a user's name, an error and a comment that would like to be a part of the page.
  it("shows whatever comes from the server as text", async () => {
    const me = await browser().person();
    const page = await me.open(opened());
    await page.shows("#state", "Live");
    const user = await sql(`select sse.issue_token('7', $$${ATTACK}$$, array[]::text[], '1h')`);
    const streams = [await listener(`/api/heard/info?topic=${encodeURIComponent(ATTACK)}`, user), await listener("/api/heard/info")];
    await page.says("#subscribers tbody", ATTACK);
    await page.says("#endpoints tbody", "<img");
    await fetch(`${PUBLIC}/api/fails?said=${encodeURIComponent(ATTACK)}`);
    await page.says("#calls tbody", ATTACK);
    await sql(`select sse.publish($$${ATTACK}$$, event => '<img/src=x/onerror=pwned=1>', topic => $$<svg/onload=pwned=1>$$)`);
    await page.says("#events", ATTACK);
    await page.says("#events", "<img/src=x/onerror=pwned=1>");
    await page.run(() => document.querySelector("#events li").click());
    await page.says("#detail", "<svg/onload=pwned=1>");
    await page.press("button", `Disconnect ${ATTACK} at 127.0.0.1 from /api/heard/info`);
    await page.says("#sure_who", ATTACK);
    await page.press("button", "Keep");
    assert.deepEqual(await page.run(() => [window.pwned ?? null, document.querySelectorAll("img, body svg:not(.plot svg), iframe, body script").length]), [null, 0]);
    await page.isGood("full of attacks");
    streams.forEach(one => one.stop());
    await me.leave();
  });

  // Attack: characters that nobody sees, or that turn around what is beside them, so that another address seems to be disconnected.
  it("shows what would not be seen, and data as it was published", async () => {
    const me = await browser().person();
    const page = await me.open(opened());
    await page.shows("#state", "Live");
    const user = await sql(`select sse.issue_token('8', U&'a\\202Eb\\2066', array[]::text[], '1h')`);
    const heard = await listener("/api/heard/info?topic=%E2%80%AEnews", user);
    await page.says("#subscribers tbody", "\\u{202e}news · HTTP/1.1");
    await page.press("button", "Disconnect a\\u{202e}b\\u{2066} at 127.0.0.1 from /api/heard/info");
    await page.shows("#sure_who", "a\\u{202e}b\\u{2066} at 127.0.0.1, /api/heard/info");
    await page.press("button", "Keep");
    const shows = async (data, shown) => {
      await eventually(async () => {
        await sql(`select sse.publish(${data}, event => 'odd')`);
        return page.run(() => document.querySelectorAll("#events li").length > 0);
      });
      await page.run(() => document.querySelector("#events li").click());
      await page.shows("#detail pre", shown);
      await page.press("button", "Clear");
    };
    await shows("U&'\\0007\\001B[31m\\202Etxt\\FEFF'", "\\u{7}\\u{1b}[31m\\u{202e}txt\\u{feff}");
    await shows("E'one\\n\\ttwo'", "one\n\ttwo");
    // Numbers, order and doubled names are those of the publisher.
    await shows(
      `'{"id": 12345678901234567890, "2": 1.0, "1": [], "1": {}, "a": [1,"x\\",{"], "e": 1e400}'`,
      `{\n  "id": 12345678901234567890,\n  "2": 1.0,\n  "1": [],\n  "1": {},\n  "a": [\n    1,\n    "x\\",{"\n  ],\n  "e": 1e400\n}`,
    );
    // Nothing but brackets is as long as it is, not as wide.
    await eventually(async () => {
      await sql("select sse.publish(repeat('[', 490) || repeat(']', 490))");
      return page.run(() => document.querySelectorAll("#events li").length > 0);
    });
    await page.run(() => document.querySelector("#events li").click());
    await page.until(() => document.querySelector("#detail pre")?.textContent.length < 50_000);
    await page.resize({ width: 360, height: 640 });
    await page.until(() => innerWidth === 360 && document.querySelector("#detail").offsetHeight < 640);
    await page.resize({});
    heard.stop();
    await page.isGood("with what is unseen");
    await me.leave();
  });

  it("forgets with the token what the token has shown", async () => {
    const me = await browser().person();
    const page = await me.open(opened());
    await page.says("#endpoints tbody", "public.heard");
    await eventually(async () => {
      await sql("select sse.publish('a secret event')");
      return page.run(() => document.querySelector("#events").textContent.includes("a secret event"));
    });
    await page.press("button", "Forget token");
    await page.shows("#state", "No token");
    // What was asked for before may be answered now.
    await page.idle();
    const left = await page.run(() => `${document.title} ${document.body.textContent}`);
    for (const word of ["a secret event", "public.heard", "serving", "canary"]) assert.ok(!left.includes(word), `${word} in ${left}`);
    assert.equal(await page.run(() => document.title), "pg_sse");
    await page.isGood("forgotten");
    await me.leave();
  });

  it("shows who listens, and ends a stream when that is confirmed", async () => {
    const me = await browser().person();
    const page = await me.open(opened());
    const token = await sql("select sse.issue_token('1', 'ann', array[]::text[], '1h')");
    const [ann, other] = [await listener("/api/heard/info", token), await listener("/api/heard/info?topic=weather")];
    await page.says("#subscribers tbody", "ann");
    await page.says("#subscribers tbody", "weather");
    const button = "Disconnect ann at 127.0.0.1 from /api/heard/info";
    await page.press("button", button);
    // Enter is on what does no harm.
    await page.until(() => document.querySelector("#sure").open && document.activeElement.textContent === "Keep");
    await page.key("Enter");
    await page.until(() => !document.querySelector("#sure").open);
    await page.press("button", button);
    await page.key("Escape");
    await page.until(() => !document.querySelector("#sure").open);
    assert.equal(ann.hasEnded, false);
    // Somebody who asks again at once is answered for what they ask then: browsers say late that a dialog was closed.
    await page.press("button", "Disconnect the anonymous subscriber at 127.0.0.1 from /api/heard/info");
    await page.until(() => document.querySelector("#sure").open);
    await page.run(button => {
      document.querySelector("#sure").close();
      document.querySelector(`#subscribers button[aria-label="${button}"]`).click();
    }, button);
    await page.press("button", "Disconnect");
    await page.says("#toast", "Disconnected ann.");
    await eventually(() => ann.hasEnded);
    assert.equal(other.hasEnded, false);
    await page.until(() => !document.querySelector("#subscribers tbody").textContent.includes("ann"));
    other.stop();
    page.isQuiet();
    await me.leave();
  });

  it("shows what is published while it is open, by filters, by keyboard, and paused", async () => {
    const me = await browser().person();
    const page = await me.open(opened());
    await page.says("#no_events", "Waiting for the next event");
    // The stream is open a moment after the page says that it waits.
    await eventually(async () => {
      await sql("select sse.publish('first')");
      return page.run(() => document.querySelector("#events").textContent.includes("first"));
    });
    // As many as it took: none of them is to come after the list was cleared.
    await sql("select sse.publish('the last of these')");
    await page.says("#events", "the last of these");
    await page.press("button", "Clear");
    await sql("select sse.publish('{\"n\": ' || n || '}', event => case n % 2 when 0 then 'even' else 'odd' end) from generate_series(1, 6) n");
    await page.until(() => document.querySelectorAll("#events li").length === 6);
    await page.write("Event name contains", "odd");
    await page.until(() => document.querySelectorAll("#events li").length === 3);
    await page.write("Data contains", "5");
    await page.until(() => document.querySelectorAll("#events li").length === 1);
    await page.says("#live_total", "1 of the last 6 fit");
    await page.write("Data contains", " ");
    await page.until(() => document.querySelectorAll("#events li").length === 3);
    // Down, and what is chosen is shown in full and stays so.
    await page.run(() => document.querySelector("#events").focus());
    await page.key("ArrowDown");
    await page.key("ArrowDown");
    await page.until(() => document.querySelector("#events [aria-selected=true]").id === document.querySelector("#events").getAttribute("aria-activedescendant"));
    await page.says("#detail pre", '"n": 3');
    await page.isGood("with an event chosen");
    await page.press("button", "Pause");
    await sql("select sse.publish('unseen', event => 'odd')");
    await page.says("#live_total", "paused, 1 passed since");
    await page.saysNot("unseen");
    await page.press("button", "Go on");
    await sql("select sse.publish('seen again', event => 'odd')");
    await page.says("#events", "seen again");
    await page.says("#detail pre", '"n": 3');
    await me.leave();
  });

  it("says that four watch already, shows all else, and watches when one of them has gone", async () => {
    const stopping = new AbortController();
    const watch = () => fetch(`${URL}/api/events`, { headers: { Authorization: `Bearer ${TOKEN}` }, signal: stopping.signal });
    // Pages that were closed a moment ago may still have their places.
    for (let open = 0; open < 4; open += (await watch()).ok ? 1 : 0);
    const me = await browser().person();
    const page = await me.open(opened());
    await page.says("#no_events", "4 inspectors watch already. This one tries again.");
    await page.says("#endpoints tbody", "public.heard");
    stopping.abort();
    await page.says("#no_events", "Waiting for the next event");
    page.forgive(/429/);
    await page.isGood("as the fifth");
    await me.leave();
  });

  it("stays as small as it is, whatever comes", async () => {
    const me = await browser().person();
    const page = await me.open(opened());
    await page.says("#no_events", "Waiting");
    await eventually(async () => {
      await sql("select sse.publish('first')");
      return page.run(() => document.querySelector("#events").textContent.includes("first"));
    });
    const elements = () => page.run(() => document.querySelectorAll("*").length);
    const burst = async number => {
      await sql(`select sse.publish(repeat('x', 200) || n) from generate_series(1, 3000) n`);
      // Too many at once are counted and not shown, so the end of a burst may be among them.
      await eventually(async () => {
        await sql(`select sse.publish('the end of burst ${number}')`);
        return page.run(number => document.querySelector("#events").textContent.includes(`the end of burst ${number}`), number);
      });
    };
    await burst(1);
    const before = await elements();
    assert.ok(before < 5000, `${before} elements`);
    for (const number of [2, 3]) await burst(number);
    assert.equal(await page.run(() => document.querySelectorAll("#events li").length), 200);
    // Rows of other tables may have come: some dozen elements, not thousands.
    const after = await elements();
    assert.ok(Math.abs(after - before) < 400, `${before} elements, then ${after}`);
    // What the page could not show it counts: nothing is lost silently.
    const seen = await page.run(() => {
      const of = id => Number((document.querySelector(id).textContent.match(/([\d,]+) (?:seen|events? missed)/)?.[1] ?? "0").replaceAll(",", ""));
      return of("#live_total") + of("#missed");
    });
    assert.ok(seen >= 9003, `${seen} of 9003`);
    await page.isGood("after thousands of events");
    await me.leave();
  });

  it("draws rates and latencies, says them, and where streams are", async () => {
    const me = await browser().person();
    const page = await me.open(opened());
    await page.says("#subscribers .empty", `curl -N http://localhost:${PUBLIC.split(":").at(-1)}/api/`);
    await page.run(() => {
      const ask = fetch;
      window.fetch = async (...of) => {
        const answer = await ask(...of);
        return of[0] === "/api/overview" ? Response.json({ ...await answer.json(), tls: true }) : answer;
      };
    });
    await page.says("#subscribers .empty", "curl -N https://localhost:");
    const heard = await listener("/api/heard/info");
    await eventually(async () => {
      await sql("select heard('tick')");
      return page.run(() => /now [1-9.]+.*at most/.test(document.querySelector("#events_rate svg").ariaLabel ?? document.querySelector("#events_rate svg").getAttribute("aria-label"))
        && / [µm]?s/.test(document.querySelector("#event_delay .p99 b").textContent)
        && document.querySelector("#deliveries_rate .line").getAttribute("d").length > 10);
    });
    assert.equal(await page.run(() => document.querySelectorAll("#checks li.bad").length), 0);
    assert.equal(await page.run(() => document.querySelectorAll("#checks li").length), 7);
    assert.ok(Number(await page.run(() => document.querySelector("#filling_window [role=meter]").ariaValueNow ?? 0)) >= 0);
    heard.stop();
    await page.isGood("with charts");
    await me.leave();
  });

  it("neither asks nor draws while nobody looks, and has the last events for who comes back", async () => {
    const me = await browser().person();
    const page = await me.open(opened());
    await page.shows("#state", "Live");
    const asked = () => page.run(() => performance.getEntriesByType("resource").filter(({ name }) => name.includes("/api/")).length);
    const locked = await me.open(`${URL}/`);
    const other = await me.open("about:blank");
    await other.front();
    await page.until(() => document.hidden);
    // Whatever is begun now is counted.
    for (const tab of [page, locked]) {
      await tab.run(() => {
        const begin = setTimeout;
        window.timers = 0;
        window.setTimeout = (...of) => {
          window.timers++;
          return begin(...of);
        };
      });
    }
    // One may be on its way.
    await eventually(async () => {
      const before = await asked();
      await new Promise(resolve => setTimeout(resolve, 3000));
      return (await asked()) === before;
    });
    const [before, timers] = [await asked(), await page.run(() => window.timers)];
    const [html, of_locked] = [await page.run(() => document.body.innerHTML), await locked.run(() => window.timers)];
    await sql("select sse.publish('unseen ' || n) from generate_series(1, 600) n");
    await new Promise(resolve => setTimeout(resolve, 2000));
    assert.deepEqual([await asked(), await page.run(() => window.timers), await locked.run(() => window.timers)], [before, timers, of_locked]);
    assert.equal(await page.run(() => document.body.innerHTML), html);
    await page.front();
    await eventually(async () => (await asked()) > before);
    await page.says("#events", "unseen ");
    await me.leave();
  });

  it("says that it is stale while the server is away, and comes back by itself", async () => {
    const me = await browser().person();
    const page = await me.open(opened());
    await page.shows("#state", "Live");
    await stop();
    await page.says("#state", "No answer for");
    await page.says("#notice", "The server does not answer");
    page.red = [];
    await page.isAccessible("stale");
    await start();
    await page.isBack();
    await page.shows("#state", "Live");
    await restart();
    await page.isBack();
    // The stream of events as well.
    await eventually(async () => {
      await sql("select sse.publish('after the restart')");
      return page.run(() => document.querySelector("#events").textContent.includes("after the restart"));
    });
    await me.leave();
  });
});
