// The page of the chat: log in, read earlier messages, receive new ones, send messages, log out.
//
// Each URL is a routine of chat.sql: /api, its schema, its name. The session is a cookie that scripts cannot read; the browser
// sends it with every request, the stream included.

const api = "/api/example-8";
const channel = "TEST_CHANNEL"; // The execution id: ties this page's calls to the streams with the same id.

const byId = id => document.getElementById(id);
const [loginForm, sendForm, list, state] = ["login", "send", "messages", "state"].map(byId);

let stream = null; // The open EventSource.
let shown = new Set(); // Ids of the messages on the page: a message may come both by the stream and in the history.
let reading = 0; // Counts the readings of the history: only the latest may write.

/** Calls a routine. Resolves to its answer, parsed if it is JSON; rejects with the server's error message. */
async function call(method, name, body) {
  const response = await fetch(`${api}/${name}`, {
    method,
    headers: { "X-NpgsqlRest-ID": channel, ...(body && { "Content-Type": "application/json" }) },
    body: body && JSON.stringify(body),
  });
  const isJson = /json/.test(response.headers.get("Content-Type") ?? "");
  const answer = isJson ? await response.json() : await response.text();
  if (!response.ok) {
    const error = new Error(answer.detail ?? answer.title ?? `the server answered ${response.status}`);
    throw Object.assign(error, { status: response.status });
  }
  return answer;
}

/** Opens the stream, then reads the history. So no message is missed in between; duplicates are recognised by their id. */
function listen() {
  const source = new EventSource(`${api}/send-message/info?${channel}`);
  stream = source;
  tell("connecting", false);
  source.onopen = () => tell("live", true);
  source.onmessage = event => {
    const message = JSON.parse(event.data); // As json_build_object in send_message makes it.
    show({ id: message.message_id, user: message.username, text: message.message_text, at: message.created_at });
  };
    // Read the history once, after the first connection: later connections resume where the last one broke.
  source.addEventListener("sse.ready", readHistory, { once: true });
    // Events are missing: the server was restarted, or this page was disconnected for too long.
  source.addEventListener("sse.gap", readHistory);
  source.onerror = () => {
    tell("reconnecting", false);
        // The browser reconnects by itself unless the answer was not a stream: the session has ended, or the server is starting.
    if (source.readyState === EventSource.CLOSED) {
      setTimeout(resume, 2000);
    }
  };
}

async function readHistory() {
  const number = ++reading;
  try {
    const history = await call("GET", "get-messages"); // The columns of get_messages, in camelCase.
    if (number !== reading || !stream) {
      return;
    }
        // A message that came by the stream meanwhile is in the history, or is newer and already shown. So none is removed.
    for (const message of history) {
      show({ id: message.messageId, user: message.username, text: message.messageText, at: message.createdAt });
    }
    complain("");
  } catch (error) {
    failed(error);
  }
}

/** Puts one message where its id belongs. */
function show({ id, user, text, at }) {
  if (shown.has(id)) {
    return;
  }
  shown.add(id);
  const item = document.createElement("li");
  const head = document.createElement("small");
  head.textContent = `${user}, ${new Date(at).toLocaleTimeString([], { timeStyle: "short" })}`;
    item.append(head, text); // Text, never HTML: another user wrote it.
  item.dataset.id = id;
  item.classList.toggle("own", user === localStorage.getItem("chat.user"));
  const isAtEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 60;
  // Nearly always it is the newest.
  let next = null;
  for (let other = list.lastElementChild; other && Number(other.dataset.id) > id; other = other.previousElementSibling) {
    next = other;
  }
  list.insertBefore(item, next);
  if (isAtEnd) {
    list.scrollTop = list.scrollHeight;
  }
}

/** Shows the chat if there is a session, else the login form. */
async function resume() {
  try {
    await call("GET", "get-messages");
    enter();
  } catch (error) {
    failed(error);
    if (error.status !== 401) {
      setTimeout(resume, 2000);
    }
  }
}

function enter() {
  stream?.close();
  swap(true);
  listen();
}

function leave() {
  stream?.close();
  stream = null;
  shown = new Set();
  list.replaceChildren();
  tell("", false);
  swap(false);
}

function swap(isIn) {
  loginForm.hidden = isIn;
  byId("chat").hidden = !isIn;
  byId("logout").hidden = !isIn;
  byId("who").textContent = isIn ? (localStorage.getItem("chat.user") ?? "") : "";
  (isIn ? sendForm.text : loginForm.username).focus();
}

function tell(text, isOpen) {
  state.textContent = text;
  state.classList.toggle("open", isOpen);
}

function complain(text) {
  byId("error").textContent = text;
}

function failed(error) {
  if (error.status === 401) {
    leave();
    return;
  }
  complain(error.message);
}

loginForm.onsubmit = async event => {
  event.preventDefault();
  const [username, password] = [loginForm.username.value, loginForm.password.value];
  try {
    await call("POST", "login", { username, password });
        localStorage.setItem("chat.user", username); // Only for display; the server decides who sends a message.
    loginForm.reset();
    complain("");
    enter();
  } catch (error) {
    complain(error.status === 401 ? "Wrong name or password." : error.message);
  }
};

sendForm.onsubmit = async event => {
  event.preventDefault();
  const messageText = sendForm.text.value.trim();
  if (!messageText) {
    return;
  }
  sendForm.text.value = "";
  try {
    await call("POST", "send-message", { messageText });
    complain("");
  } catch (error) {
    sendForm.text.value ||= messageText; // Not lost: it can be sent again.
    failed(error);
  }
};

byId("logout").onclick = async () => {
  try {
    await call("POST", "logout");
  } catch (error) {
    complain(error.message);
    return;
  }
  leave();
};

resume();
