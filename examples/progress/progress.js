// The page of the import: starts it, shows how far it is, cancels it, and goes on where one has stopped.
//
// The import goes on without the page. What the page keeps is the URL of its stream, in localStorage, which all tabs share:
// whoever follows that URL gets everything from the first event on.

import { call, callAsync, follow, login, logout, SseError } from "pg-sse";

const api = "/api/progress";
const KEY = "progress.job";
/** Changes with each login and logout, so that all tabs ask who they are. */
const WHO = "progress.who";
/** How long to wait before asking again, in milliseconds. */
const PATIENCE = 2000;

const byId = id => document.getElementById(id);
const number = new Intl.NumberFormat("en");
const form = byId("start");

let me = null; // The name of who has logged in.
let running = null; // The job that is shown, and what is known of it.
let view = { phase: "none" };

/** The job that all tabs show, if it is this user's: `{ url, file, user }`. */
const stored = () => {
  const job = JSON.parse(localStorage.getItem(KEY) ?? "null");
  return me && job?.user === me ? job : null;
};
const idOf = job => new URL(job.url).searchParams.get("id");

/** Does what a button asks for, and says what went wrong. */
async function attempt(work) {
  byId("problem").textContent = "";
  try {
    await work();
  } catch (error) {
    byId("problem").textContent = error instanceof SseError ? error.message : "The server cannot be reached. Try again in a moment.";
  }
}

async function start(file, after) {
  busy(true);
  await attempt(async () => {
    // As every other tab, this one follows what is stored.
    const { url } = await callAsync(`${api}/import-prices`, { file, after });
    localStorage.setItem(KEY, JSON.stringify({ url, file, user: me }));
    show();
    byId("file").focus(); // The button that had the focus is disabled now.
  });
  render();
}

/** Asks who this is, and shows what that may see. */
async function meet() {
  for (;;) {
    try {
      const { response } = await call(`${api}/who-am-i`, {}, { method: "GET" });
      me = response;
      break;
    } catch {
      // The server is away.
      await new Promise(resolve => setTimeout(resolve, PATIENCE));
    }
  }
  byId("badge").hidden = Boolean(me);
  byId("who").hidden = !me;
  byId("name").textContent = me ?? "";
  await show();
}

/** Logs in or out, here and in the other tabs. */
async function change(session) {
  await attempt(async () => {
    await session();
    localStorage.setItem(WHO, String(Math.random()));
    void meet();
  });
}

/** Shows the stored job: its first event, and all that follow. */
async function show() {
  const job = stored();
  running?.close();
  running = null;
  see({ phase: job ? "waiting" : "none", file: job?.file }, {});
  if (!job) {
    return;
  }
  const isMine = () => running === mine;
  const mine = running = follow(job.url, { onState: is => isMine() && see({ isAway: !is }) });
  try {
    for await (const { event, data } of mine) {
      // A gap: the server was restarted, or the job began longer ago than the server keeps events.
      event === "sse.gap" ? ask(job) : see({ phase: "running", ...JSON.parse(data) });
    }
    const { lines, isCancelled } = await mine.result;
    see({ phase: isCancelled && !(lines >= view.total) ? "cancelled" : "done", done: lines, isAway: false });
  } catch (error) {
    // The import has failed; or its end is no longer there (410), as after a restart; or this page does not show it any more.
    if (isMine()) {
      ask(job, error.status === 410 ? undefined : error.message);
    }
  }
}

/** Reads from the table what has become of the job, until it has ended. */
async function ask(job, problem) {
  const asked = running;
  while (running === asked && !isOver()) {
    try {
      const { response: [state] } = await call(`${api}/import-state`, { id: idOf(job) }, { method: "GET" });
      if (running !== asked || isOver()) {
        return;
      }
      // None: it had not even begun.
      const { state: phase, total, done, problem: reason } = state ?? { state: "interrupted" };
      if (phase !== "running") {
        running.close();
        return see({ phase, total, done, problem: reason ?? problem, isAway: false });
      }
      see({ phase, total, done: Math.max(done, view.done ?? 0) });
    } catch {
      // The server is still away.
    }
    await new Promise(resolve => setTimeout(resolve, PATIENCE));
  }
}

const isOver = () => !["waiting", "running"].includes(view.phase);

const TITLES = {
  waiting: "Waiting for its turn", running: "Importing", done: "Done", failed: "Failed", cancelled: "Cancelled", interrupted: "Interrupted",
};

/** Shows news. */
function see(news, of = view) {
  view = { ...of, ...news };
  render();
}

function render() {
  const { phase, file, done, total, isAway } = view;
  const card = byId("job");
  card.hidden = phase === "none";
  card.dataset.phase = isAway ? "away" : phase;
  byId("file").textContent = file ?? "";
  byId("state").textContent = isAway ? "Connection lost, trying again" : (TITLES[phase] ?? "");
  const bar = byId("bar");
  if (total) {
    [bar.max, bar.value] = [total, done];
  } else if (isOver()) {
    bar.value = 0;
  } else {
    bar.removeAttribute("value"); // It moves, and says nothing.
  }
  byId("lines").textContent = total ? `${number.format(done)} of ${number.format(total)} lines` : "";
  byId("rest").textContent = rest();
  tell("message", message());
  byId("cancel").hidden = phase !== "running";
  byId("cancel").disabled = Boolean(view.isCancelling);
  tell("go-on", goOn()?.label);
  busy(!isOver());
  speak();
}

function busy(is) {
  is ||= !me;
  form.querySelector("fieldset").disabled = is;
  byId("import").disabled = is;
}

function tell(id, text) {
  byId(id).hidden = !text;
  byId(id).textContent = text ?? "";
}

/** Percent, and the time that is left, from what this run has done so far. */
function rest() {
  const { phase, done, total, after, seconds } = view;
  if (!total) {
    return "";
  }
  const percent = `${Math.floor(100 * done / total)} %`;
  if (phase !== "running" || !(done > after)) {
    return percent;
  }
  const left = Math.ceil((total - done) * seconds / (done - after));
  return `${percent}, ${left < 60 ? `${left} s` : `${Math.ceil(left / 60)} min`} left`;
}

function message() {
  const { phase, done, problem } = view;
  const kept = done ? `${number.format(done)} lines are in.` : "Nothing was imported.";
  switch (phase) {
    case "done": return "All prices are in.";
    case "cancelled": return kept;
    case "failed": return `${problem} ${done ? "All lines before it are in." : kept}`;
    case "interrupted": return `${problem ?? "The server was restarted."} ${kept}`;
    default: return "";
  }
}

/** What the second button does: where to go on, and what it is called. */
function goOn() {
  const { phase, done = 0 } = view;
  switch (phase) {
    case "failed": return { after: done + 1, label: `Skip line ${number.format(done + 1)} and go on` };
    case "cancelled":
    case "interrupted": return { after: done, label: `Go on from line ${number.format(done + 1)}` };
    default: return null;
  }
}

/** Screen readers hear each quarter and each change, not every line. */
function speak() {
  const { phase, done, total, isAway } = view;
  const quarter = phase === "running" && total ? `, ${25 * Math.floor(4 * done / total)} percent` : "";
  const text = phase === "none" ? "" : `${isAway ? "Connection lost" : TITLES[phase]}${quarter}. ${message()}`;
  if (byId("spoken").textContent !== text) {
    byId("spoken").textContent = text;
  }
}

byId("badge").onsubmit = event => {
  event.preventDefault();
  const code = byId("code").value;
  byId("code").value = "";
  change(() => login(`${api}/log-in`, { code }));
};
byId("log-out").onclick = () => {
  running?.close(); // The import goes on; nobody follows it meanwhile.
  running = null;
  change(() => logout(`${api}/log-out`));
};
form.onsubmit = event => {
  event.preventDefault();
  start(form.elements.file.value, 0);
};
byId("go-on").onclick = () => start(view.file, goOn().after);
byId("cancel").onclick = () => attempt(async () => {
  see({ isCancelling: true });
  await call(`${api}/cancel-import`, { id: idOf(stored()) }).finally(() => see({ isCancelling: false }));
});
// Another tab has started one, or has logged in or out.
addEventListener("storage", event => {
  if (event.key === KEY) {
    show();
  } else if (event.key === WHO) {
    meet();
  }
});

render();
meet();
