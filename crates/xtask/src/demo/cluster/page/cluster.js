// The page of the demo: the counter by way of the proxy, and below it the same counter as each server has it.

const [value, button, problem, state, track, tally, servers, template] =
  ["value", "increment", "problem", "state", "track", "tally", "servers", "server"].map(id => document.getElementById(id));

/** The counter's stream. */
const STREAM = "/api/counter/changed/info";
/** How much time a mark of the track stands for, more than between two numbers; and how many marks there are. */
const [MARK_MS, MARKS] = [400, 50];

/** A topic that this window alone asks for, so that servers know whose stream they have. */
const windowId = `window-${crypto.randomUUID()}`;

let serving = null;

/** What has come by way of the proxy. */
const seen = { last: null, lastId: "", count: 0, missing: 0, twice: 0, at: 0, longest: 0 };

function take(event) {
  const number = Number(event.data);
  const now = performance.now();
  // An id that ends like this is of the value with which a stream begins, not of a change.
  const begins = event.lastEventId.endsWith("s");
  if (seen.last !== null && !begins) {
    if (number <= seen.last) seen.twice++;
    else seen.missing += number - seen.last - 1;
    seen.longest = Math.max(seen.longest, now - seen.at);
  }
  Object.assign(seen, { last: number, lastId: event.lastEventId, count: seen.count + 1, at: now });
  show(number);
  track.lastElementChild.className = serving ?? "one";
}

/** Begins with the value, or goes on behind the last number. */
function listen() {
  const query = new URLSearchParams({ topic: windowId });
  if (seen.lastId) query.set("last_event_id", seen.lastId);
  const stream = new EventSource(`${STREAM}?${query}`);
  stream.onopen = () => tell("live");
  stream.onmessage = take;
  stream.addEventListener("sse.gap", event => {
    problem.textContent = `The server says that something is missing: ${JSON.parse(event.data).reason}`;
  });
  stream.onerror = () => {
    tell("reconnecting");
    // The browser reconnects by itself, unless the answer was not a stream: a server that is starting, for example.
    if (stream.readyState === EventSource.CLOSED) setTimeout(listen, 1000);
  };
}

function show(number) {
  value.textContent = number.toLocaleString();
}

function tell(text) {
  state.textContent = text;
  state.dataset.is = text;
}

function count() {
  track.append(document.createElement("i"));
  while (track.children.length > MARKS) track.firstElementChild.remove();
  const seconds = milliseconds => `${(milliseconds / 1000).toFixed(1)} s`;
  if (seen.last === null) return;
  const none = number => number || "none";
  tally.textContent = `${seen.count.toLocaleString()} numbers, ${none(seen.missing)} missing, ${none(seen.twice)} twice; `
    + `longest pause ${seconds(Math.max(seen.longest, performance.now() - seen.at))}`;
  tally.classList.toggle("bad", seen.missing + seen.twice > 0);
}

/** A server, asked by its own address: what no visitor of an application would do. */
class Server {
  #origin;
  #name;
  #card;

  constructor({ name, origin }) {
    this.#origin = origin;
    this.#name = name;
    servers.append(template.content.cloneNode(true));
    this.#card = servers.lastElementChild;
    this.#card.classList.add(name);
    this.#part("h2").textContent = `Server ${name}`;
    this.#listen();
    this.#ask();
  }

  #part(selector) {
    return this.#card.querySelector(selector);
  }

  #listen() {
    const stream = new EventSource(this.#origin + STREAM);
    stream.onmessage = event => { this.#part(".number").textContent = Number(event.data).toLocaleString(); };
    stream.onerror = () => {
      if (stream.readyState === EventSource.CLOSED) setTimeout(() => this.#listen(), 1000);
    };
  }

  async #ask() {
    const get = async path => {
      const answer = await fetch(this.#origin + path, { signal: AbortSignal.timeout(2000) });
      return answer.ok ? await answer.text() : Promise.reject(answer.status);
    };
    try {
      const [place, serves] = await Promise.all([get("/api/place-in-tree"), get(`/api/serves?windowId=${windowId}`)]);
      this.#is(place, serves === "true" || serves === "t");
    } catch {
      this.#is("gone", false);
    }
    setTimeout(() => this.#ask(), 300);
  }

  #is(place, serves) {
    this.#card.dataset.is = place;
    this.#part(".place").textContent = place;
    this.#card.classList.toggle("serving", serves);
    if (serves) serving = this.#name;
  }
}

button.onclick = async () => {
  const headers = { "Content-Type": "application/json" };
  const answer = await fetch("/api/counter/increment", { method: "POST", headers, body: "{}" }).catch(() => null);
  problem.textContent = answer?.ok ? "" : "There is no primary at this moment: nothing was written. Try again in a moment.";
};

for (let at = 0; at < MARKS; at++) count();
setInterval(count, MARK_MS);
for (const server of await (await fetch("servers.json")).json()) new Server(server);
listen();
