// The page of the feed. Each URL is a routine of setup.sql: /api, its schema, its name.

const [form, posts, problem, state] = ["add", "posts", "problem", "state"].map(id => document.getElementById(id));

/** The stream begins with the last posts, and goes on with each new one. */
function listen() {
  const stream = new EventSource("/api/feed/added/info");
  stream.onopen = () => tell("live");
  stream.addEventListener("recent", event => {
    // Also when something was missed: what is shown is as the table is now.
    posts.replaceChildren();
    JSON.parse(event.data).forEach(post => show(post));
    posts.parentElement.ariaBusy = "false";
  });
  stream.onmessage = event => show(JSON.parse(event.data))?.classList.add("new");
  stream.onerror = () => {
    tell("reconnecting");
    // The browser reconnects by itself, unless the answer was not a stream: a server that is starting, for example.
    if (stream.readyState === EventSource.CLOSED) {
      setTimeout(listen, 2000);
    }
  };
}

/** Puts a post where its id belongs: nearly always on top. Of two that were made at once, either may come first. */
function show({ id, title, created_at }) {
  const before = [...posts.children].find(item => Number(item.dataset.id) <= id);
  if (before?.dataset.id === String(id)) {
    return null;
  }
  const item = document.createElement("li");
  item.dataset.id = id;
  const text = document.createElement("p");
  text.textContent = title; // Text, never HTML: somebody else wrote it.
  const time = document.createElement("time");
  time.dateTime = created_at;
  time.textContent = new Date(created_at).toLocaleString([], { dateStyle: "medium", timeStyle: "short" });
  item.append(text, time);
  posts.insertBefore(item, before ?? null);
  return item;
}

function tell(text) {
  state.textContent = text;
  state.dataset.is = text;
}

form.onsubmit = async event => {
  event.preventDefault();
  const [headers, body] = [{ "Content-Type": "application/json" }, JSON.stringify({ title: form.title.value })];
  const answer = await fetch("/api/feed/add", { method: "POST", headers, body }).catch(() => null);
  problem.textContent = answer?.ok ? "" : "That did not work. Try again in a moment.";
  if (answer?.ok) {
    form.reset();
  }
};

listen();
