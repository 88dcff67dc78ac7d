// The page of the chat: log in, read earlier messages, receive new ones, send messages, log out.
//
// Each URL is a routine of chat.sql or more.sql: /api, its schema, its name. The session is a cookie that scripts cannot
// read; the browser sends it with every request, the stream included.

const api = "/api/example-8";

const byId = id => document.getElementById(id);
const [loginForm, sendForm, list, state] = ["login", "send", "messages", "state"].map(byId);

let me = ""; // Who is logged in.
let channel = "general"; // The execution id: ties this page's calls to the streams with the same id.
let stream = null; // The open EventSource.
let shown = new Set(); // Keys of the messages on the page: a message may come both by the stream and in the history.
let reading = 0; // Counts the readings of the history: only the latest may write.

/** Calls a routine. Resolves to its answer, parsed if it is JSON; rejects with the server's error message. */
async function call(method, name, args, headers = {}) {
  const query = method === "GET" && args ? `?${new URLSearchParams(args)}` : "";
  const body = method === "GET" ? undefined : JSON.stringify(args ?? {});
  const response = await fetch(`${api}/${name}${query}`, {
    method, body, headers: body ? { ...headers, "Content-Type": "application/json" } : headers,
  });
  const isJson = /json/.test(response.headers.get("Content-Type") ?? "");
  const answer = isJson ? await response.json() : await response.text();
  if (!response.ok) {
    const error = new Error(answer.detail ?? answer.title ?? `the server answered ${response.status}`);
    throw Object.assign(error, { status: response.status });
  }
  return answer;
}

/** Opens the stream, then reads the history. So no message is missed in between; duplicates are recognised by their keys. */
function listen() {
  const source = new EventSource(`${api}/send-message/info?${channel}`);
  stream = source;
  tell("connecting");
  source.onopen = () => {
    tell(`${me}, live`, "live");
    complain("");
  };
  // As json_build_object in send_message makes it.
  source.onmessage = event => showMessage(JSON.parse(event.data));
  // Only for those whom the hint names.
  source.addEventListener("private", event => showPrivate(JSON.parse(event.data)));
  source.addEventListener("report", event => {
    const { message_id, username, message_text, reported_by } = JSON.parse(event.data);
    const text = `${username} wrote: ${message_text}`;
    show({ key: `report ${event.lastEventId}`, head: `${reported_by} reports message ${message_id}`, text, at: Date.now(), kind: "report" });
  });
  // Read the history once, after the first connection: later connections resume where the last one broke.
  source.addEventListener("sse.ready", readHistory, { once: true });
  // Events are missing: the server was restarted, or this page was disconnected for too long.
  source.addEventListener("sse.gap", readHistory);
  source.onerror = () => {
    tell("reconnecting");
    // The browser reconnects by itself, unless the answer was not a stream: the server is starting. Or the session has
    // ended, by a logout in another tab.
    setTimeout(resume, source.readyState === EventSource.CLOSED ? 2000 : 0, source);
  };
}

async function readHistory() {
  const number = ++reading;
  try {
    // The columns of the functions, in camelCase.
    const [messages, letters] = await Promise.all([call("GET", "get-channel", { channel }), call("GET", "get-private")]);
    if (number !== reading || !stream) {
      return;
    }
    // A message that came by the stream meanwhile is in the history, or is newer and already shown. So none is removed.
    for (const { messageId, username, messageText, createdAt } of messages) {
      showMessage({ message_id: messageId, username, message_text: messageText, created_at: createdAt });
    }
    for (const { messageId, sender, receiver, messageText, createdAt } of letters) {
      showPrivate({ message_id: messageId, sender, receiver, message_text: messageText, created_at: createdAt });
    }
    complain("");
  } catch (error) {
    failed(error);
  }
}

function showMessage({ message_id, username, message_text, created_at }) {
  const isOwn = username === me;
  const item = show({ key: `message ${message_id}`, head: username, text: message_text, at: created_at, kind: isOwn ? "own" : "" });
  if (item && !isOwn) {
    const report = document.createElement("button");
    report.textContent = "Report";
    report.ariaLabel = `Report what ${username} wrote`;
    report.className = "plain";
    report.onclick = async () => {
      try {
        await call("POST", "report", { messageId: message_id });
        report.replaceWith("Reported");
      } catch (error) {
        failed(error);
      }
    };
    item.querySelector("small").append(" ", report);
  }
}

function showPrivate({ message_id, sender, receiver, message_text, created_at }) {
  const head = sender === me ? `to ${receiver} alone` : `${sender}, to you alone`;
  const kind = sender === me ? "own private" : "private";
  show({ key: `private ${message_id}`, head, text: message_text, at: created_at, kind });
}

/** Puts one message where its time belongs; null if it is there already. */
function show({ key, head, text, at, kind }) {
  if (shown.has(key)) {
    return null;
  }
  shown.add(key);
  const item = document.createElement("li");
  const small = document.createElement("small");
  small.textContent = `${head}, ${new Date(at).toLocaleTimeString([], { timeStyle: "short" })}`;
  item.append(small, text); // Text, never HTML: another user wrote it.
  item.className = kind;
  item.dataset.at = +new Date(at);
  const isAtEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 60;
  // Nearly always it is the newest.
  let next = null;
  for (let other = list.lastElementChild; other && Number(other.dataset.at) > Number(item.dataset.at); other = other.previousElementSibling) {
    next = other;
  }
  list.insertBefore(item, next);
  if (isAtEnd) {
    list.scrollTop = list.scrollHeight;
  }
  return item;
}

/** Looks who is logged in: goes on with the chat if it is somebody, else shows the login form. */
async function resume(broken = null) {
  if (broken !== stream) {
    return;
  }
  try {
    const user = await call("GET", "who-am-i");
    if (broken !== stream) {
      return;
    }
    if (!user) {
      leave();
    } else if (user !== me) {
      await enter(user);
    } else if (broken?.readyState === EventSource.CLOSED) {
      listen();
    }
  } catch (error) {
    failed(error);
    // Without a stream nothing else comes back.
    if (!broken || broken.readyState === EventSource.CLOSED) {
      setTimeout(resume, 2000, broken);
    }
  }
}

async function enter(user) {
  const people = await call("GET", "get-people");
  clear();
  me = user;
  const others = people.map(({ username }) => username).filter(username => username !== me);
  sendForm.to.replaceChildren(new Option("Everybody", ""), ...others.map(name => new Option(name, name)));
  // A browser may remember another one over a reload.
  document.querySelector(`[name="channel"][value="${channel}"]`).checked = true;
  swap(true);
  listen();
}

function leave() {
  clear();
  me = "";
  tell("");
  swap(false);
}

/** Ends what was: the stream, and all messages of the page. */
function clear() {
  stream?.close();
  stream = null;
  shown = new Set();
  list.replaceChildren();
}

function swap(isIn) {
  loginForm.hidden = isIn;
  byId("chat").hidden = !isIn;
  byId("logout").hidden = !isIn;
  (isIn ? sendForm.text : loginForm.username).focus();
}

function tell(text, is = "") {
  state.textContent = text;
  state.dataset.is = is;
}

function complain(text) {
  byId("error").textContent = text;
}

function failed(error) {
  if (error.status === 401) {
    leave();
    return;
  }
  complain(error.status ? error.message : "The server cannot be reached. Trying again.");
}

loginForm.onsubmit = async event => {
  event.preventDefault();
  const [username, password] = [loginForm.username.value, loginForm.password.value];
  try {
    await call("POST", "login", { username, password });
    loginForm.reset();
    complain("");
    await enter(username);
  } catch (error) {
    complain(error.status === 401 ? "Wrong name or password." : error.message);
  }
};

sendForm.onsubmit = async event => {
  event.preventDefault();
  const [messageText, to] = [sendForm.text.value.trim(), sendForm.to.value];
  if (!messageText) {
    return;
  }
  sendForm.text.value = "";
  try {
    // Without an execution id, an event reaches its receivers in all channels.
    await (to ? call("POST", "send-private", { to, messageText })
      : call("POST", "send-message", { messageText }, { "X-NpgsqlRest-ID": channel }));
    complain("");
  } catch (error) {
    sendForm.text.value ||= messageText; // Not lost: it can be sent again.
    failed(error);
  }
};

byId("channels").onchange = event => {
  channel = event.target.value;
  clear();
  listen();
};

byId("logout").onclick = async () => {
  try {
    stream?.close();
    await call("POST", "logout");
    leave();
  } catch (error) {
    complain(error.message);
    listen();
  }
};

resume();
