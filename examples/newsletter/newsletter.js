// The page of the newsletter. Each URL is a routine of setup.sql: /api, its schema, its name.

import { call, live } from "pg-sse";

const api = "/api/newsletter";
const byId = id => document.getElementById(id);
const [form, list, state, problem] = ["editor", "letters", "state", "problem"].map(byId);

// The rows, as they are in the table now. They keep themselves fresh.
const letters = live(`${api}/live/info`, { key: "id", names: "sql", snapshot: "rows" });
letters.subscribe(draw);

const shown = new Map(); // By id: the row and its article.
let edited = null; // The id of the row that is in the form.

/** Makes the page as the rows are. What has not changed is left alone: somebody may be reading, or be at one of its buttons. */
function draw() {
  tell(letters.state === "live" && !letters.isConnected ? "reconnecting" : letters.state);
  list.ariaBusy = String(letters.state === "loading");
  const rows = [...letters.current].sort((one, other) => other.id - one.id);
  const ids = new Set(rows.map(row => row.id));
  for (const [id, { article }] of [...shown].filter(([id]) => !ids.has(id))) {
    shown.delete(id);
    article.remove();
  }
  rows.forEach((row, at) => {
    const { article, row: was } = shown.get(row.id) ?? { article: newArticle(row.id) };
    if (was !== row) {
      fill(article, row);
      shown.set(row.id, { article, row });
    }
    if (list.children[at] !== article) {
      list.insertBefore(article, list.children[at] ?? null);
    }
  });
}

function newArticle(id) {
  const article = byId("letter").content.firstElementChild.cloneNode(true);
  article.querySelector(".edit").onclick = () => edit(shown.get(id).row);
  article.querySelector(".remove").onclick = () => change("remove", { id }, "DELETE");
  return article;
}

function fill(article, { title, content, created_at }) {
  article.querySelector("h2").textContent = title; // Text, never HTML: somebody else wrote it.
  article.querySelector(".content").textContent = content;
  const time = article.querySelector("time");
  time.dateTime = created_at;
  time.textContent = new Date(created_at).toLocaleString([], { dateStyle: "medium", timeStyle: "short" });
  for (const [name, word] of [["edit", "Edit"], ["remove", "Delete"]]) {
    article.querySelector(`.${name}`).ariaLabel = `${word} ${title}`;
  }
}

/** Puts a row into the form; null empties it, for a new one. */
function edit(row) {
  edited = row?.id ?? null;
  form.title.value = row?.title ?? "";
  form.content.value = row?.content ?? "";
  byId("task").textContent = row ? "Edit" : "A new one";
  form.querySelector("button").textContent = row ? "Save" : "Publish";
  byId("cancel").hidden = !row;
  if (row) {
    form.title.focus();
  }
}

/** Calls a routine, and comes back when the page shows what it did. */
async function change(routine, args, method) {
  try {
    const { settled } = await call(`${api}/${routine}`, args, { method, stream: letters });
    await settled;
    problem.textContent = "";
    return true;
  } catch (error) {
    problem.textContent = error.status ? error.message : "The server cannot be reached. Try again in a moment.";
    return false;
  }
}

form.onsubmit = async event => {
  event.preventDefault();
  const args = { title: form.title.value, content: form.content.value };
  const done = edited === null ? change("publish", args, "POST") : change("edit", { id: edited, ...args }, "PUT");
  if (await done) {
    edit(null);
  }
};

byId("cancel").onclick = () => edit(null);

function tell(text) {
  state.textContent = text;
  state.dataset.is = text;
}
