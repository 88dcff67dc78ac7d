// The page of the counter. Each URL is a routine of setup.sql: /api, its schema, its name.

const [value, button, problem, state] = ["value", "increment", "problem", "state"].map(id => document.getElementById(id));

/** The first event is the value, each later one the value after a change. */
function listen() {
  const stream = new EventSource("/api/counter/changed/info");
  stream.onopen = () => tell("live");
  stream.onmessage = event => show(event.data);
  stream.addEventListener("sse.gap", event => {
    // Something is missing. The value follows by itself, unless it could not be read.
    problem.textContent = JSON.parse(event.data).reason === "snapshot" ? "No value: the server's log says why." : "";
  });
  stream.onerror = () => {
    tell("reconnecting");
    // The browser reconnects by itself, unless the answer was not a stream: a server that is starting, for example.
    if (stream.readyState === EventSource.CLOSED) {
      setTimeout(listen, 2000);
    }
  };
}

function show(number) {
  const text = BigInt(number).toLocaleString();
  if (value.textContent !== text) {
    value.textContent = text;
    value.animate?.({ scale: [1.08, 1] }, { duration: matchMedia("(prefers-reduced-motion)").matches ? 0 : 180 });
  }
}

function tell(text) {
  state.textContent = text;
  state.dataset.is = text;
}

button.onclick = async () => {
  const headers = { "Content-Type": "application/json" };
  const answer = await fetch("/api/counter/increment", { method: "POST", headers, body: "{}" }).catch(() => null);
  problem.textContent = answer?.ok ? "" : "That did not work. Try again in a moment.";
};

listen();
