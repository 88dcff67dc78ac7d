// The charts: rates between two overviews, and percentiles out of two readings of a histogram.

/** Seconds that a chart shows: of a page that was just opened fewer, in whole minutes. */
const SHOWN = 300;
const MINUTE = 60;

/** Readings that are kept: one a second, and some to spare. */
const MAX_READINGS = SHOWN + 60;

/** Percentiles are of the events of this many seconds. */
const RECENT = 60;

/** Two readings that are further apart are not joined by a line: the page was not looked at, or the server away. */
const JOINED = 20;

const WIDTH = 300;
const HEIGHT = 72;
const SVG = "http://www.w3.org/2000/svg";

/** Readings of the overview, oldest first. All are of the same run of the gateway. */
const readings = [];

/** Takes an overview; what was read of a gateway that is gone says nothing of this one. */
function read(overview) {
  const last = readings.at(-1);
  const reading = {
    at: number(overview.now) ?? Date.now() / 1000,
    started: overview.started,
    port: overview.port,
    tls: overview.tls,
    figures: overview.figures ?? {},
    event_delay: overview.event_delay ?? {},
    call_duration: overview.call_duration ?? {},
    drawn: {},
  };
  // A clock that was set back would draw a line backwards.
  if (last && (reading.at <= last.at || reading.started !== last.started)) readings.length = 0;
  const before = readings.at(-1);
  for (const chart of CHARTS) reading.drawn[chart.id] = chart.values(reading, before);
  readings.push(reading);
  while (readings.length > MAX_READINGS || readings[0].at < reading.at - SHOWN) readings.shift();
}

/** How much a counter has grown each second. */
function grown(name) {
  return (reading, before) => {
    const [now, then] = [number(reading.figures[name]), number(before?.figures[name])];
    if (now === null || then === null || now < then || reading.at - before.at > JOINED) return [null];
    return [(now - then) / (reading.at - before.at)];
  };
}

/** Median and 99th percentile of what came in the last minute, in milliseconds. */
function percentiles(name) {
  return reading => {
    const base = readings.find(({ at }) => at >= reading.at - RECENT);
    const [now, then] = [reading[name], base?.[name]];
    if (!then || !Array.isArray(now.le)) return [null, null];
    const counts = list(now.count).map((count, at) => count - (list(then.count)[at] ?? 0));
    const total = now.total - then.total;
    if (!(total > 0)) return [null, null];
    return [0.5, 0.99].map(part => percentile(now.le, counts, total * part) * 1000);
  };
}

/** Where so many of them are below, between two bounds as if they were spread evenly; at most the last bound. */
function percentile(bounds, counts, wanted) {
  const at = counts.findIndex(count => count >= wanted);
  if (at < 0) return bounds.at(-1);
  const [low, below] = at ? [bounds[at - 1], counts[at - 1]] : [0, 0];
  return low + (bounds[at] - low) * (wanted - below) / Math.max(1, counts[at] - below);
}

/** From 0 to a round number. */
const linear = {
  top: largest => {
    const power = 10 ** Math.floor(Math.log10(Math.max(largest, 1)));
    return [1, 2, 5, 10].map(step => step * power).find(round => round >= largest) ?? largest;
  },
  bottom: 0,
  place: (value, top) => value / top,
};

/** From 0.1 ms to the power of ten above, so that a microsecond and a second are on one chart. */
const logarithmic = {
  top: largest => 10 ** Math.max(1, Math.ceil(Math.log10(Math.max(largest, 1)) - 1e-9)),
  bottom: 0.1,
  place: (value, top) => Math.log10(Math.max(value, 0.1) / 0.1) / Math.log10(top / 0.1),
};

const per = { unit: "/s", write: rate, scale: linear, lines: [""] };
const lasting = { unit: "", write: took, scale: logarithmic, lines: ["p50", "p99"] };

const CHARTS = [
  { id: "events_rate", name: "Events a second", values: grown("events_total"), ...per },
  { id: "deliveries_rate", name: "Deliveries a second", values: grown("deliveries_total"), ...per },
  { id: "connects_rate", name: "Connects a second", values: grown("connections_total"), ...per },
  { id: "event_delay", name: "From commit to socket", values: percentiles("event_delay"), ...lasting },
  { id: "call_duration", name: "Duration of calls", values: percentiles("call_duration"), ...lasting },
];

/** Puts what a chart consists of into its figure. */
function prepare(chart) {
  const figure = byId(chart.id);
  chart.shown = chart.lines.map(line => {
    const value = make("p", `value ${line}`);
    if (line) value.append(make("span", "line", line), " ");
    const shown = make("b", "", "–");
    value.append(shown);
    if (chart.unit) value.append(make("span", "unit", chart.unit));
    return [value, shown];
  });
  chart.when = make("span", "when");
  figure.querySelector("figcaption").append(chart.when);
  const values = make("div", "values");
  values.append(...chart.shown.map(([value]) => value));
  chart.svg = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img" });
  chart.grid = svg("path", { class: "grid" });
  chart.area = svg("path", { class: "area" });
  chart.paths = chart.lines.map(line => svg("path", { class: `line ${line}` }));
  chart.hair = svg("path", { class: "hair" });
  chart.svg.append(chart.grid, chart.area, ...chart.paths, chart.hair);
  const plot = make("div", "plot");
  [chart.high, chart.low] = [make("span", "high"), make("span", "low")];
  plot.append(chart.svg, chart.high, chart.low);
  figure.append(values, plot);
  plot.addEventListener("pointermove", event => {
    const { left, width } = chart.svg.getBoundingClientRect();
    chart.pointed = (event.clientX - left) / width;
    draw(chart);
  });
  plot.addEventListener("pointerleave", () => {
    chart.pointed = null;
    draw(chart);
  });
}

function svg(tag, attributes) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
}

function draw(chart) {
  const end = readings.at(-1)?.at ?? 0;
  const minutes = Math.ceil((end - (readings[0]?.at ?? end)) / MINUTE);
  const span = Math.min(Math.max(minutes, 1) * MINUTE, SHOWN);
  const x = at => ((at - end) / span + 1) * WIDTH;
  const all = readings.flatMap(({ drawn }) => drawn[chart.id]).filter(value => value !== null);
  const top = chart.scale.top(Math.max(0, ...all));
  const y = value => HEIGHT - 1 - Math.min(1, chart.scale.place(value, top)) * (HEIGHT - 2);

  chart.paths.forEach((path, line) => path.setAttribute("d", pieces(chart.id, line).map(
    piece => `M${piece.map(([at, value]) => `${x(at).toFixed(1)} ${y(value).toFixed(1)}`).join("L")}`).join("")));
  const filled = chart.scale === linear ? pieces(chart.id, 0) : [];
  chart.area.setAttribute("d", filled.map(piece => `M${x(piece[0][0]).toFixed(1)} ${HEIGHT}L${piece.map(
    ([at, value]) => `${x(at).toFixed(1)} ${y(value).toFixed(1)}`).join("L")}L${x(piece.at(-1)[0]).toFixed(1)} ${HEIGHT}Z`).join(""));
  chart.grid.setAttribute("d", gridlines(chart.scale, top).map(value => `M0 ${y(value).toFixed(1)}H${WIDTH}`).join(""));

  const pointed = chart.pointed == null ? null : nearest(end - span + chart.pointed * span);
  const shown = pointed ?? readings.at(-1);
  chart.hair.setAttribute("d", pointed ? `M${x(pointed.at).toFixed(1)} 0V${HEIGHT}` : "");
  chart.shown.forEach(([, element], line) => put(element, chart.write(shown?.drawn[chart.id][line] ?? null)));
  put(chart.when, pointed ? clock(pointed.at) : `${span / MINUTE} min`);
  put(chart.high, chart.write(top) + chart.unit);
  put(chart.low, chart.scale === linear ? "0" : chart.write(chart.scale.bottom));

  const latest = readings.at(-1)?.drawn[chart.id] ?? [];
  const spoken = chart.lines.map((line, at) => `${line} ${chart.write(latest[at] ?? null)}`.trim()).join(", ");
  const most = all.length ? `, at most ${chart.write(Math.max(...all))} in the last five minutes` : "";
  chart.svg.setAttribute("aria-label", `${chart.name}: now ${spoken}${most}`);
}

/** The parts of a line that are joined. */
function pieces(id, line) {
  const found = [];
  let last = -Infinity;
  for (const { at, drawn } of readings) {
    const value = drawn[id][line];
    if (value === null) continue;
    if (at - last > JOINED) found.push([]);
    found.at(-1).push([at, value]);
    last = at;
  }
  // A point by itself is a short line, else nobody would see it.
  return found.map(piece => (piece.length > 1 ? piece : [piece[0], [piece[0][0] + 1, piece[0][1]]]));
}

function gridlines(scale, top) {
  if (scale === linear) return [top / 2, top];
  const lines = [];
  for (let value = 1; value <= top; value *= 10) lines.push(value);
  return lines;
}

function nearest(at) {
  return readings.reduce((best, one) => (Math.abs(one.at - at) < Math.abs((best?.at ?? Infinity) - at) ? one : best), null);
}
