// What is asked for, how often, and what the page says of itself: locked, live or stale.

/** Milliseconds between two questions. Nobody is asked while nobody looks at the page. */
const OVERVIEW_EACH = 1000;
const LISTS_EACH = 2000;
const ENDPOINTS_EACH = 5000;

/** Pause before the stream of events is opened again; while nobody looks it is doubled each time, up to the longest. */
const STREAM_AGAIN = 1000;
const STREAM_AGAIN_LONGEST = 60_000;

/** Somebody who has failed four times watches already; another place is free when a page is closed. */
const STREAM_AGAIN_FULL = 5000;

/** Filling of the ring from which on the server is not ready (docs/metrics.md). */
const NEARLY_FULL = 0.8;

const STATES = { locked: "No token", wrong: "Wrong token", opening: "Opening …", live: "Live", stale: "No answer" };

let state = "locked";
/** When the last overview came, on the clock of this machine. */
let answeredAt = 0;
/** Ends the stream of events. */
let streaming = null;

const pause = ms => new Promise(resolve => setTimeout(resolve, ms));

/** So long, or until somebody looks or looks away. */
const pauseOrLook = ms => new Promise(resolve => {
  const done = () => {
    clearTimeout(timer);
    document.removeEventListener("visibilitychange", done);
    resolve();
  };
  const timer = ms === Infinity ? undefined : setTimeout(done, ms);
  document.addEventListener("visibilitychange", done);
});

/** Until somebody looks. */
async function watched() {
  while (document.hidden) await pauseOrLook(Infinity);
}

/** Who waits for the page to become something else. */
const waiting = [];
const changed = () => new Promise(resolve => waiting.push(resolve));

function become(next, why = "") {
  const was = state;
  state = next;
  const isOpen = next === "live" || next === "stale";
  const element = byId("state");
  element.dataset.is = next;
  if (next !== "stale") put(element, STATES[next]);
  document.body.dataset.is = next;
  show(document.querySelector("main"), isOpen);
  show(byId("gate"), next === "locked" || next === "wrong");
  show(byId("forget"), isOpen);
  show(byId("notice"), next === "stale");
  put(byId("refused"), next === "wrong" ? why || WRONG : "");
  if (next === "wrong" && was !== "wrong") byId("token").select();
  if (next !== "live") streaming?.abort();
  if (next === "locked" || next === "wrong") forget();
  if (next !== was) waiting.splice(0).forEach(resolve => resolve());
  title();
}

/** Nothing that the token has shown stays in a page without it. */
function forget() {
  readings.length = 0;
  events.clear();
  for (const table of [endpoints, subscribers, calls]) table.take([], 0);
  [answeredAt, database, checksFail] = [0, "", false];
  CHARTS.forEach(draw);
  delete byId("checks").dataset.says;
  for (const id of ["about", "gauges", "fillings", "checks", "totals"]) byId(id).replaceChildren();
  byId("sure").close();
}

const WRONG = "The server refuses this token. Is it the one of sse.admin_token, and is that set at all?";

function title() {
  const mark = { live: "", stale: "? " }[state] ?? "";
  const failing = state === "live" && checksFail ? "! " : "";
  const where = database ? ` · ${database}` : "";
  document.title = `${mark}${failing}pg_sse${where}`;
}

let database = "";
let checksFail = false;

function refused(error) {
  if (error instanceof Refused && error.status === 401) {
    wire.keep("");
    become("wrong");
    return true;
  }
  return false;
}

/** Asks for the overview as long as the page is open. */
async function beat() {
  for (;;) {
    await watched();
    if (wire.token) {
      const asked = wire.token;
      try {
        const overview = await wire.json("/api/overview");
        answeredAt = Date.now();
        if (asked === wire.token) {
          become("live");
          overviewed(overview);
        }
      } catch (error) {
        if (asked === wire.token && !refused(error)) stale(error);
      }
    }
    await (wire.token ? Promise.race([pause(OVERVIEW_EACH), poked()]) : poked());
  }
}

/** Until somebody gives a token. */
let poke = () => {};
const poked = () => new Promise(resolve => { poke = resolve; });

function stale(error) {
  become("stale");
  const detail = error instanceof Refused ? ` The admin port says: ${error.message}` : "";
  const since = answeredAt ? `What is shown is of ${clock(answeredAt / 1000)}, ${age((Date.now() - answeredAt) / 1000)} ago.` : "Nothing is known yet.";
  put(byId("state"), answeredAt ? `No answer for ${age((Date.now() - answeredAt) / 1000)}` : STATES.stale);
  put(byId("notice"), `The server does not answer. ${since} It is asked again each second.${detail}`);
}

/** Asks for a list as long as the page is open, live and looked at. */
async function follow(path, each, take) {
  for (;;) {
    await watched();
    if (state !== "live") {
      await changed();
      continue;
    }
    const asked = wire.token;
    try {
      const answer = await wire.json(path);
      if (asked === wire.token) take(answer);
    } catch (error) {
      // The overview says whether the server answers at all.
      if (asked === wire.token) refused(error);
    }
    await pause(each);
  }
}

/** Keeps the stream of events open, also while nobody looks: whoever comes back wants to see what came. */
async function listen() {
  let again = STREAM_AGAIN;
  for (;;) {
    if (state !== "live") {
      await changed();
      continue;
    }
    const asked = wire.token;
    again = document.hidden ? Math.min(again * 2, STREAM_AGAIN_LONGEST) : STREAM_AGAIN;
    streaming = new AbortController();
    const opened = () => {
      again = STREAM_AGAIN;
      events.trouble = "";
      events.told();
    };
    try {
      await wire.stream("/api/events", streaming.signal, (name, content) => events.take(name, content), opened);
      events.trouble = "The stream has ended; it is opened again.";
    } catch (error) {
      if (asked !== wire.token || refused(error)) continue;
      const isFull = error instanceof Refused && error.status === 429;
      events.trouble = isFull ? `${error.message} This one tries again.` : "The stream was broken; it is opened again.";
      if (isFull) again = STREAM_AGAIN_FULL;
    }
    streaming = null;
    events.told();
    await pauseOrLook(again);
  }
}

function overviewed(overview) {
  read(overview);
  CHARTS.forEach(draw);
  database = text(overview.database);
  const up = readings.at(-1).at - overview.started;
  put(byId("about"), [database, `version ${text(overview.version)}`, text(overview.state), number(up) === null ? "" : `up ${age(up)}`].filter(Boolean).join(" · "));
  byId("about").classList.toggle("bad", overview.state !== "serving");
  gauges(overview);
  fillings(overview);
  health(list(overview.checks));
  title();
}

/** A list of names and numbers; `bad` are those that should be 0. */
function facts(element, known, bad = () => false) {
  if (element.childElementCount !== known.length) {
    element.replaceChildren(...known.map(([name]) => {
      const pair = make("div");
      pair.append(make("dt", "", name), make("dd"));
      return pair;
    }));
  }
  known.forEach(([name, value], at) => {
    const pair = element.children[at];
    put(pair.lastChild, short(value));
    pair.classList.toggle("bad", bad(name) && value > 0);
  });
}

const FAULTS = ["Dropped", "Too large", "Calls failed", "Refused", "Tokens refused", "Faults"];

function gauges({ figures = {} }) {
  facts(byId("gauges"), [
    ["Subscribers", figures.subscribers_open], ["Connections", figures.connections_open],
    ["Calls running", figures.calls_running], ["Calls waiting", figures.calls_waiting],
  ]);
  const faults = ["internal_total", "undecodable_total", "out_of_memory_total", "requests_dropped_total"]
    .map(name => number(figures[name]) ?? 0).reduce((sum, value) => sum + value, 0);
  facts(byId("totals"), [
    ["Events", figures.events_total], ["Deliveries", figures.deliveries_total], ["Calls", figures.calls_total], ["Gaps", figures.gaps_total],
    ["Dropped", figures.dropped_total], ["Too large", figures.too_large_total], ["Calls failed", figures.calls_failed_total],
    ["Refused", figures.refused_total], ["Tokens refused", figures.refused_tokens_total], ["Faults", faults],
  ], name => FAULTS.includes(name));
}

function fillings({ ring = {}, window: kept = {} }) {
  filling("ring", "Ring", ring.used, ring.size, "", NEARLY_FULL);
  const holds = kept.events > 0
    ? [plural(kept.events, "event", "events"), number(kept.seconds) === null ? "" : `the last ${age(kept.seconds)}`]
    : ["empty"];
  // A window that is full is as it should be: it is what a subscriber can come back to.
  filling("window", "Window", kept.used, kept.size, holds.filter(Boolean).join(", "), Infinity);
}

function filling(id, name, used, whole, said, bad) {
  let element = byId(`filling_${id}`);
  if (!element) {
    element = make("div", "filling");
    element.id = `filling_${id}`;
    const meter = make("div", "meter");
    meter.setAttribute("role", "meter");
    meter.setAttribute("aria-label", name);
    meter.setAttribute("aria-valuemin", "0");
    meter.setAttribute("aria-valuemax", "100");
    meter.append(make("span"));
    element.append(make("span", "name", name), make("span", "amount"), meter, make("span", "second"));
    byId("fillings").append(element);
  }
  const part = whole > 0 ? Math.min(1, used / whole) : 0;
  const [, amount, meter, more] = element.children;
  put(amount, `${size(used)} of ${size(whole)}`);
  put(more, said);
  show(more, !!said);
  // Something that is there is to be seen.
  meter.firstChild.style.width = `${used > 0 ? Math.max(0.5, part * 100) : 0}%`;
  meter.setAttribute("aria-valuenow", String(Math.round(part * 100)));
  meter.setAttribute("aria-valuetext", `${size(used)} of ${size(whole)}`);
  element.classList.toggle("bad", part >= bad);
}

function health(checks) {
  checksFail = checks.some(({ ok }) => !ok);
  const element = byId("checks");
  const said = JSON.stringify(checks.map(({ name, ok, detail }) => [name, ok, detail]));
  if (element.dataset.says !== said) {
    element.dataset.says = said;
    element.replaceChildren(...checks.slice(0, 20).map(check => {
      const item = make("li", check.ok ? "ok" : "bad");
      item.append(make("span", "mark", check.ok ? "ok" : "fails"), make("span", "name", text(check.name)), make("span", "ms number"));
      if (check.detail != null) item.append(make("span", "second", text(check.detail)));
      return item;
    }));
  }
  checks.slice(0, 20).forEach(({ ms }, at) => put(element.children[at].querySelector(".ms"), took(ms)));
}

/** The subscriber that somebody is asked about. */
let asking = null;

/** Asks whether that is meant. */
function disconnect(subscriber) {
  const { user, address, path } = subscriber;
  const dialog = byId("sure");
  if (dialog.open) return;
  asking = subscriber;
  put(byId("sure_who"), `${text(user) || "Anonymous"} at ${text(address)}, ${text(path)}`);
  dialog.returnValue = "no";
  dialog.showModal();
}

/** Ends the stream when that is meant. A browser says a frame late that a dialog was closed: it may be open again. */
async function answered() {
  const dialog = byId("sure");
  if (dialog.open || !asking) return;
  const { id, user } = asking;
  asking = null;
  if (dialog.returnValue !== "yes") return;
  let said = `Disconnected ${text(user) || "the anonymous subscriber"}.`;
  try {
    await wire.ask(`/api/subscribers/${encodeURIComponent(id)}`, { method: "DELETE" });
    subscribers.take(subscribers.items.filter(item => item.id !== id), Math.max(0, subscribers.total - 1));
  } catch (error) {
    if (refused(error)) return;
    const isGone = error instanceof Refused && error.status === 404;
    said = isGone ? "That stream has gone already." : `It could not be disconnected: ${error.message}`;
  }
  toast(said);
}

/** Says something for some seconds, also to screen readers. */
function toast(said) {
  let element = byId("toast");
  if (!element) {
    element = make("p");
    element.id = "toast";
    element.setAttribute("role", "status");
    document.body.append(element);
  }
  put(element, said);
  show(element, true);
  clearTimeout(toast.timer);
  toast.timer = setTimeout(() => show(element, false), 6000);
}

function enter() {
  become(wire.token ? "opening" : "locked");
  if (!wire.token) byId("token").focus();
  poke();
}

byId("gate").addEventListener("submit", event => {
  event.preventDefault();
  wire.keep(byId("token").value);
  byId("token").value = "";
  if (wire.token) enter();
});

byId("sure").addEventListener("close", answered);

byId("forget").addEventListener("click", () => {
  wire.keep("");
  enter();
});

addEventListener("hashchange", () => {
  if (wire.begin()) enter();
});

CHARTS.forEach(prepare);
CHARTS.forEach(draw);
events.begin();
wire.begin();
enter();
beat();
listen();
follow("/api/endpoints", ENDPOINTS_EACH, ({ endpoints: found, total }) => endpoints.take(list(found), total));
follow("/api/subscribers", LISTS_EACH, ({ subscribers: found, total }) => subscribers.take(list(found), total));
follow("/api/calls", LISTS_EACH, takeCalls);
