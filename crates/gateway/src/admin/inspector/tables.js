// The tables: endpoints, subscribers, calls. Each has one row per item, found again by its key, so that neither what
// has the focus nor what is marked goes away when the next answer comes.

/** Rows that a table has at most; how many there are is said beside its title. */
const MAX_ROWS = 200;

/**
 * A table, and how an item becomes a row: `make` once, `fill` with each answer. Items of one key are told apart by how
 * many of them came before.
 */
class Table {
  constructor(id, { key, matches, make, fill, empty }) {
    this.section = byId(id);
    this.body = this.section.querySelector("tbody");
    this.table = this.section.querySelector("table");
    this.nothing = this.section.querySelector(".empty");
    Object.assign(this, { key, matches, make, fill, empty });
    this.rows = new Map();
    this.items = [];
    this.told = 0;
    this.find = this.section.querySelector("input");
    this.find.addEventListener("input", () => this.draw());
  }

  take(items, total) {
    this.items = items;
    this.total = number(total) ?? items.length;
    this.draw();
  }

  draw() {
    const asked = this.find.type === "checkbox" ? this.find.checked : this.find.value.trim().toLowerCase();
    const found = asked ? this.items.filter(item => this.matches(item, asked)) : this.items;
    const shown = found.slice(0, MAX_ROWS);
    const focused = document.activeElement;
    const gone = new Set(this.rows.keys());
    const seen = new Map();
    let place = this.body.firstChild;
    for (const item of shown) {
      const same = this.key(item);
      seen.set(same, (seen.get(same) ?? 0) + 1);
      const key = `${same}\n${seen.get(same)}`;
      let row = this.rows.get(key);
      gone.delete(key);
      if (!row) this.rows.set(key, row = this.make());
      this.fill(row, item);
      if (row === place) place = place.nextSibling;
      else this.body.insertBefore(row, place);
    }
    for (const key of gone) {
      this.rows.get(key).remove();
      this.rows.delete(key);
    }
    // A row that was moved has lost the focus.
    if (focused !== document.activeElement && this.body.contains(focused)) focused.focus();
    show(this.table, shown.length > 0);
    show(this.nothing, !shown.length);
    if (!shown.length) advise(this.nothing, asked ? [["p", "Nothing fits what is asked for."]] : this.empty());
    put(this.section.querySelector(".total"), this.said(shown.length, found.length, !!asked));
  }

  said(shown, found, isAsked) {
    const all = isAsked ? `${count(found)} of ${count(this.total)}` : count(this.total);
    return shown < (isAsked ? found : this.total) ? `${all}, ${count(shown)} shown` : all;
  }
}

/** A row of cells with these classes; `row.cells` has them. */
function cells(...classes) {
  const row = make("tr");
  row.append(...classes.map(name => make("td", name)));
  return row;
}

/** Two lines in a cell: what matters, and what belongs to it. */
function two(cell, first, second, write = put) {
  if (cell.children.length !== 2) cell.replaceChildren(make("span", "first"), make("span", "second"));
  write(cell.children[0], first);
  put(cell.children[1], second);
  show(cell.children[1], second !== "");
}

const contains = (asked, ...parts) => parts.some(part => text(part).toLowerCase().includes(asked));

/** Where streams and calls are; what is usual while nothing listens. */
function publicUrl() {
  const { port, tls } = readings.at(-1) ?? {};
  return `${tls ? "https" : "http"}://localhost:${number(port) ?? 8080}`;
}

const endpoints = new Table("endpoints", {
  key: item => `${item.routine}\n${item.kind}\n${item.url}\n${item.method}\n${item.level}`,
  matches: (item, asked) => contains(asked, item.url, item.routine, item.problem, item.scope),
  make: () => cells("path", "wide", "number"),
  fill(row, item) {
    const [url, scope, subscribers] = row.cells;
    row.classList.toggle("bad", item.problem != null);
    if (item.problem != null) two(url, text(item.routine), text(item.problem));
    else if (item.url == null) two(url, text(item.routine), "publishes, and has no URL");
    else two(url, `${text(item.method)} ${text(item.url)}`, text(item.routine), putPath);
    put(scope, text(item.scope) || (item.kind === "call" ? "call" : ""));
    put(subscribers, item.subscribers == null ? "" : count(item.subscribers));
  },
  empty: () => [
    ["p", "No endpoint yet. A comment on a routine makes one, within a second:"],
    ["pre", `CREATE PROCEDURE hello(name text) LANGUAGE plpgsql AS $$
BEGIN
  RAISE INFO 'Hello, %', name;
END $$;
COMMENT ON PROCEDURE hello IS '@sse';`],
    ["p", "Then everybody who listens to /api/hello/info hears"],
    ["pre", "CALL hello('world');"],
  ],
});

const subscribers = new Table("subscribers", {
  key: item => text(item.id),
  matches: (item, asked) => contains(asked, item.user, item.address, item.path, item.id, ...list(item.topics)),
  make() {
    const row = cells("who", "path", "number wide", "number wide", "number", "act");
    const button = make("button", "quiet", "Disconnect");
    button.type = "button";
    button.addEventListener("click", () => disconnect(row.item));
    row.cells[5].append(button);
    row.button = button;
    return row;
  },
  fill(row, item) {
    row.item = item;
    const [who, path, since, delivered, lag] = row.cells;
    two(who, text(item.user) || "anonymous", text(item.address));
    who.classList.toggle("nobody", item.user == null);
    const topics = list(item.topics).map(text).join(", ");
    const wire = `${item.protocol === "h2" ? "HTTP/2" : "HTTP/1.1"}${item.tls ? " TLS" : ""}`;
    two(path, text(item.path), topics ? `${topics} · ${wire}` : wire, putPath);
    put(since, age((readings.at(-1)?.at ?? Date.now() / 1000) - item.since));
    put(delivered, count(item.delivered));
    two(lag, item.lag_events ? count(item.lag_events) : "0", item.lag_bytes ? size(item.lag_bytes) : "");
    lag.classList.toggle("late", item.lag_events > 0);
    const name = visible(`Disconnect ${text(item.user) || "the anonymous subscriber"} at ${text(item.address)} from ${text(item.path)}`);
    if (row.button.ariaLabel !== name) row.button.ariaLabel = name;
  },
  empty: () => [
    ["p", "Nobody listens. Open a page that does, or a stream of one of the endpoints:"],
    ["pre", `curl -N ${publicUrl()}${streamPath()}`],
  ],
});

const streamPath = () => text(endpoints.items.find(({ kind, url }) => kind === "stream" && url)?.url) || "/api/hello/info";

const calls = new Table("calls", {
  key: item => [item.isRunning ? "runs" : "", item.at, item.method, item.path, item.status].join("\n"),
  matches: item => item.error != null || item.status >= 400,
  make: () => cells("time", "path", "number", "number"),
  fill(row, item) {
    const [time, call, status, duration] = row.cells;
    put(time, clock(item.at));
    const path = `${text(item.method)} ${text(item.path)}`;
    two(call, path, item.error != null ? text(item.error) : text(item.user), putPath);
    row.classList.toggle("bad", item.error != null || item.status >= 500);
    row.classList.toggle("running", !!item.isRunning);
    put(status, item.isRunning ? "runs" : text(item.status));
    put(duration, item.isRunning ? age(item.ms / 1000) : took(item.ms));
  },
  empty: () => [
    ["p", "No call yet. Routines with an HTTP line in their comment are called when calls have a role to run as:"],
    ["pre", `-- postgresql.conf: sse.call_role = 'app'
COMMENT ON FUNCTION add(int, int) IS 'HTTP GET /api/add
@anonymous';`],
    ["pre", `curl '${publicUrl()}/api/add?a=1&b=2'`],
  ],
});

/** Those that run before those that ended. */
function takeCalls({ running, total, calls: ended }) {
  const now = readings.at(-1)?.at ?? Date.now() / 1000;
  const asRun = item => ({ ...item, isRunning: true, at: item.started, ms: Math.max(0, now - item.started) * 1000 });
  calls.take([...list(running).map(asRun), ...list(ended)], (number(total) ?? 0) + list(running).length);
}
