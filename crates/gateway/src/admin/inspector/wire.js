// What goes between the page and the admin port: the token, answers as JSON, and the stream of events. EventSource is
// not used for that one, because it cannot send a token but in a URL, which logs would keep.

/** Where the token is until the tab is closed. */
const KEPT = "pg_sse.admin_token";

/** An answer that takes longer will not come. The server's own checks take up to six seconds. */
const ANSWER_TIME = 10_000;

/** Longest event in characters; ours have 1,000 bytes of data. Beyond it the stream is not one of ours, and is left. */
const MAX_BLOCK = 1 << 17;

const wire = {
  token: "",

  /** Takes the token out of the address bar, or from what this tab had before. */
  begin() {
    const found = /^#token=(.*)$/s.exec(location.hash);
    if (found) {
      // A screenshot is not to have it. (The browser's history has the link all the same.)
      history.replaceState(null, "", location.pathname + location.search);
      this.keep(decoded(found[1]));
    } else if (!this.token) {
      this.token = stored();
    }
    return !!found;
  },

  keep(token) {
    this.token = token;
    // Without storage (it can be forbidden) the token is asked for again after a reload.
    try {
      if (token) sessionStorage.setItem(KEPT, token);
      else sessionStorage.removeItem(KEPT);
    } catch { /* as said */ }
  },

  async ask(path, { method = "GET", signal = AbortSignal.timeout(ANSWER_TIME) } = {}) {
    // Headers are bytes: a token of other characters goes out as UTF-8.
    const bytes = String.fromCharCode(...new TextEncoder().encode(this.token));
    let headers;
    try {
      headers = new Headers({ Authorization: `Bearer ${bytes}` });
    } catch {
      throw new Refused(401);
    }
    const response = await fetch(path, { method, headers, signal, cache: "no-store", credentials: "omit", redirect: "error" });
    if (!response.ok) {
      const said = await response.json().catch(() => null);
      throw new Refused(response.status, text(said?.detail ?? said?.title));
    }
    return response;
  },

  async json(path) {
    return (await this.ask(path)).json();
  },

  /** Reads a stream until it ends; `take` gets each event's name and its data. */
  async stream(path, signal, take, opened) {
    const response = await this.ask(path, { signal });
    opened();
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      rest += value;
      const blocks = rest.split(/\r?\n\r?\n/);
      rest = blocks.pop();
      for (const block of blocks) parse(block, take);
      if (rest.length > MAX_BLOCK) {
        await reader.cancel();
        throw new Error("not a stream of events");
      }
    }
  },
};

/** The server has answered, but not with what was asked for. */
class Refused extends Error {
  constructor(status, detail = "") {
    super(detail || `the server answered ${status}`);
    this.status = status;
  }
}

function decoded(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

function stored() {
  try {
    return sessionStorage.getItem(KEPT) ?? "";
  } catch {
    return "";
  }
}

/** One block of a stream; comments and what is not JSON are passed over. */
function parse(block, take) {
  let name = "message";
  const data = [];
  for (const line of block.split(/\r?\n/)) {
    if (line.startsWith("data:")) data.push(line.slice(5).replace(/^ /, ""));
    else if (line.startsWith("event:")) name = line.slice(6).trim();
  }
  if (!data.length) return;
  let content;
  try {
    content = JSON.parse(data.join("\n"));
  } catch {
    return;
  }
  if (content && typeof content === "object") take(name, content);
}
