// What numbers, times and sizes look like; and how anything gets into the page: as text, never as HTML. Whatever the
// server sends may have been written by somebody who wants to be here. (Its policy makes the browser
// refuse the other way as well: Trusted Types.)

const WHOLE = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const TENTHS = new Intl.NumberFormat("en", { minimumFractionDigits: 1, maximumFractionDigits: 1 });

/** A number that there may not be. */
const number = value => (Number.isFinite(value) ? value : null);

const count = value => (number(value) === null ? "–" : WHOLE.format(value));

const SHORT = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });

/** What would be too wide in full. */
const short = value => (value < 1_000_000 ? count(value) : number(value) === null ? "–" : SHORT.format(value));

/** With a tenth where that says something. */
function rate(value) {
  if (number(value) === null) return "–";
  return value > 0 && value < 10 ? TENTHS.format(value) : WHOLE.format(value);
}

const UNITS = ["B", "kB", "MB", "GB", "TB"];

/** Bytes, as Postgres writes them: a kB has 1024. */
function size(bytes) {
  if (number(bytes) === null) return "–";
  let unit = 0;
  while (bytes >= 1024 && unit < UNITS.length - 1) {
    bytes /= 1024;
    unit++;
  }
  return `${unit && bytes < 10 ? TENTHS.format(bytes) : WHOLE.format(bytes)} ${UNITS[unit]}`;
}

/** How long something took, in milliseconds. */
function took(ms) {
  if (number(ms) === null) return "–";
  if (ms < 0.9995) return `${WHOLE.format(ms * 1000)} µs`;
  if (ms < 999.5) return `${ms < 9.95 ? TENTHS.format(ms) : WHOLE.format(ms)} ms`;
  return `${ms < 9950 ? TENTHS.format(ms / 1000) : WHOLE.format(ms / 1000)} s`;
}

/** How long something has lasted, in seconds. */
function age(seconds) {
  if (number(seconds) === null) return "–";
  const whole = Math.max(0, Math.floor(seconds));
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min`;
  if (whole < 86_400) return `${Math.floor(whole / 3600)} h ${Math.floor(whole % 3600 / 60)} min`;
  return `${WHOLE.format(Math.floor(whole / 86_400))} d ${Math.floor(whole % 86_400 / 3600)} h`;
}

/** A moment of the day, in the time zone of whoever looks. */
function clock(at, withMilliseconds = false) {
  const date = new Date(at * 1000);
  if (!Number.isFinite(date.getTime())) return "–";
  const two = value => String(value).padStart(2, "0");
  const time = `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;
  return withMilliseconds ? `${time}.${String(date.getMilliseconds()).padStart(3, "0")}` : time;
}

const plural = (number, one, many) => `${count(number)} ${number === 1 ? one : many}`;

const byId = id => document.getElementById(id);

/** What the server sends may lack anything, or be of another kind than we think. */
const list = value => (Array.isArray(value) ? value : []);
const text = value => (value === null || value === undefined ? "" : String(value));

/** What nobody would see, or what would turn around what is beside it: controls, and those of Unicode for direction. */
const UNSEEN = /[\0-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\u{e0000}-\u{e007f}]/gu;

/** A text of somebody else, with what is unseen as its number. */
const visible = value => text(value).replace(UNSEEN, one => `\\u{${one.codePointAt(0).toString(16)}}`);

/** A new element, with its class and its text. */
function make(tag, className = "", content = "") {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (content !== "") element.textContent = visible(content);
  return element;
}

/** Changes a text only if it is another one, so that what somebody has marked stays marked. */
function put(element, content) {
  const wanted = visible(content);
  if (element.textContent !== wanted) element.textContent = wanted;
}

/** A path, which may be broken behind each slash. */
function putPath(element, content) {
  const wanted = visible(content);
  if (element.textContent === wanted) return;
  element.replaceChildren(...wanted.split(/(?<=[/])/).flatMap((part, at) => (at ? [make("wbr"), part] : [part])));
}

function show(element, isShown) {
  if (element.hidden === isShown) element.hidden = !isShown;
}

/** Code to copy, with a sentence before it. */
function advise(element, sentences) {
  if (element.dataset.says === JSON.stringify(sentences)) return;
  element.dataset.says = JSON.stringify(sentences);
  element.replaceChildren(...sentences.map(([tag, content]) => make(tag, "", content)));
}
