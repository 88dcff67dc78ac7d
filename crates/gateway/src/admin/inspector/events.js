// The live events: the newest at the top, what fits the filters, and the one that was chosen. Bounded in the page and
// in memory, however many come and however long the page is open.

/** Events that are kept, for other filters and for Pause. */
const MAX_KEPT = 500;

/** Rows in the page. */
const MAX_SHOWN = 200;

/** Pause between two changes of the page in milliseconds: nobody reads faster, and a burst is drawn once. */
const DRAWN_EACH = 200;

const events = {
  /** Oldest first. */
  kept: [],
  /** Came since they were drawn. */
  fresh: [],
  seen: 0,
  missed: 0,
  isPaused: false,
  whilePaused: 0,
  /** The chosen one. */
  chosen: null,
  /** Why none come. */
  trouble: "",
  list: byId("events"),
  filters: ["by_topic", "by_name", "by_text"].map(byId),

  begin() {
    for (const filter of this.filters) filter.addEventListener("input", () => this.redraw());
    byId("pause").addEventListener("click", () => this.pause(!this.isPaused));
    byId("clear").addEventListener("click", () => this.clear());
    this.list.addEventListener("click", event => {
      const row = event.target.closest("[role=option]");
      if (row) this.choose(row);
    });
    this.list.addEventListener("keydown", event => this.key(event));
    document.addEventListener("visibilitychange", () => this.drawSoon());
    this.told();
  },

  take(name, content) {
    if (name === "missed") {
      this.missed += number(content.count) ?? 0;
    } else if (name === "message") {
      this.seen++;
      if (this.isPaused) this.whilePaused++;
      else this.fresh.push({ ...content, number: this.seen });
      if (this.fresh.length > MAX_KEPT) this.fresh.splice(0, this.fresh.length - MAX_KEPT);
    }
    this.drawSoon();
  },

  /** A page that is not looked at is drawn when it is. */
  drawSoon() {
    if (document.hidden) return;
    this.timer ??= setTimeout(() => {
      this.timer = undefined;
      this.draw();
    }, DRAWN_EACH);
  },

  draw() {
    const fresh = this.fresh.splice(0);
    this.kept.push(...fresh);
    this.kept.splice(0, this.kept.length - MAX_KEPT);
    const asked = this.asked();
    const shown = fresh.filter(event => fits(event, asked)).slice(-MAX_SHOWN).reverse().map(event => row(event));
    const { scrollTop } = this.list;
    const height = this.list.scrollHeight;
    this.list.prepend(...shown);
    while (this.list.childElementCount > MAX_SHOWN) this.list.lastElementChild.remove();
    // Whoever has scrolled down to read goes on reading there.
    if (scrollTop > 0) this.list.scrollTop = scrollTop + this.list.scrollHeight - height;
    this.marked();
    this.told();
  },

  redraw() {
    this.kept.push(...this.fresh.splice(0));
    this.kept.splice(0, this.kept.length - MAX_KEPT);
    const asked = this.asked();
    const shown = this.kept.filter(event => fits(event, asked)).slice(-MAX_SHOWN).reverse();
    this.list.replaceChildren(...shown.map(event => row(event)));
    this.marked();
    this.told();
  },

  asked() {
    return this.filters.map(({ value }) => value.trim().toLowerCase());
  },

  pause(isPaused) {
    this.isPaused = isPaused;
    this.whilePaused = 0;
    byId("pause").setAttribute("aria-pressed", String(isPaused));
    put(byId("pause"), isPaused ? "Go on" : "Pause");
    this.told();
  },

  clear() {
    this.kept = [];
    this.fresh = [];
    [this.seen, this.missed, this.whilePaused, this.chosen] = [0, 0, 0, null];
    this.redraw();
    this.detail();
  },

  /** Up and down, as in any list. */
  key(event) {
    const rows = [...this.list.children];
    const at = rows.findIndex(({ id }) => id === this.list.getAttribute("aria-activedescendant"));
    const to = { ArrowDown: at + 1, ArrowUp: at < 0 ? 0 : at - 1, Home: 0, End: rows.length - 1, PageDown: at + 10, PageUp: at - 10 }[event.key];
    if (event.key === "Escape") {
      this.chosen = null;
      this.marked();
      this.detail();
    } else if (to !== undefined && rows.length) {
      event.preventDefault();
      this.choose(rows[Math.min(Math.max(to, 0), rows.length - 1)]);
    }
  },

  choose(element) {
    this.chosen = element.event;
    this.marked();
    element.scrollIntoView({ block: "nearest" });
    this.detail();
  },

  marked() {
    for (const element of this.list.querySelectorAll("[aria-selected=true]")) element.setAttribute("aria-selected", "false");
    const element = this.chosen && byId(`event_${this.chosen.number}`);
    if (element) {
      element.setAttribute("aria-selected", "true");
      this.list.setAttribute("aria-activedescendant", element.id);
    } else {
      this.list.removeAttribute("aria-activedescendant");
    }
  },

  /** All that is known of the chosen one, which stays when its row has gone. */
  detail() {
    const element = byId("detail");
    show(element, !!this.chosen);
    if (!this.chosen) return element.replaceChildren();
    const { id, at, path, event, topics, scope, bytes, streams, delay_ms: delay, data, cut } = this.chosen;
    const facts = make("dl");
    const known = [
      ["Id", id], ["At", clock(at, true)], ...(path == null ? [] : [["Path", path]]), ["Event", event ?? "(none)"],
      ["Topics", list(topics).map(text).join(", ") || "(none)"],
      ["Scope", scope], ["Size", size(bytes)], ["For", plural(streams, "stream", "streams")], ["Delay", took(delay)],
    ];
    facts.append(...known.flatMap(([name, value]) => [make("dt", "", name), make("dd", "", text(value))]));
    const content = make("pre", "", readable(text(data), cut));
    element.replaceChildren(facts, content);
    if (cut) element.append(make("p", "second", "Only the beginning is shown."));
    element.scrollTop = 0;
  },

  told() {
    const shown = this.list.childElementCount;
    const asked = this.asked().some(Boolean);
    const parts = [];
    // Where no event is, there is room for it below.
    if (this.trouble && shown) parts.push(this.trouble);
    else if (this.isPaused) parts.push(`paused, ${count(this.whilePaused)} passed since`);
    if (this.seen) parts.push(asked ? `${count(shown)} of the last ${count(this.kept.length)} fit` : `${count(this.seen)} seen`);
    put(byId("live_total"), parts.join(" · "));
    show(byId("missed"), this.missed > 0);
    if (this.missed) put(byId("missed"), `${plural(this.missed, "event", "events")} missed: more came than could be shown.`);
    show(this.list, shown > 0);
    show(byId("no_events"), !shown);
    if (shown) return;
    if (asked && this.kept.length) advise(byId("no_events"), [["p", "No event fits the filters."]]);
    else if (this.trouble) advise(byId("no_events"), [["p", this.trouble]]);
    else advise(byId("no_events"), [["p", "Waiting for the next event. Publish one:"], ["pre", "SELECT sse.publish('hello');"]]);
  },
};

/** What an event is about: its topics, and the path where the server knows it. */
const about = ({ path, topics }) => [...list(topics).map(text), text(path)].filter(Boolean).join(", ");

function fits(event, [byTopic, byName, byText]) {
  const has = (value, asked) => text(value).toLowerCase().includes(asked);
  return has(about(event), byTopic) && has(event.event, byName) && has(event.data, byText);
}

function row(event) {
  const element = make("li", "event columns");
  element.id = `event_${event.number}`;
  element.setAttribute("role", "option");
  element.setAttribute("aria-selected", "false");
  element.event = event;
  element.append(
    make("span", "time", clock(event.at, true)),
    make("span", "path", about(event)),
    make("span", "name", event.event ?? ""),
    make("span", "data", text(event.data).slice(0, 300)),
    make("span", "number", count(event.streams)),
    make("span", "number delay", took(event.delay_ms)),
  );
  return element;
}

/** Indents of a line, at most: data may be nothing but brackets. */
const MAX_INDENTS = 20;

/**
 * JSON with its lines, if it is whole. It stays the text that was published: what is parsed and written again has other
 * numbers (12345678901234567890, 1.0), another order and no name twice.
 */
function readable(data, isCut) {
  if (isCut || !/^\s*[[{]/.test(data)) return data;
  try {
    JSON.parse(data);
  } catch {
    return data;
  }
  const parts = data.match(/"(?:[^"\\]|\\.)*"|[[\]{},:]|[^\s"[\]{},:]+/g);
  let depth = 0;
  const line = () => `\n${"  ".repeat(Math.min(depth, MAX_INDENTS))}`;
  return parts.map((part, at) => {
    if (part === ",") return part + line();
    if (part === ":") return ": ";
    if ("[{".includes(part)) {
      depth++;
      return "]}".includes(parts[at + 1]) ? part : part + line();
    }
    if (!"]}".includes(part)) return part;
    depth--;
    return "[{".includes(parts[at - 1]) ? part : line() + part;
  }).join("");
}
