// A web server for browsers: the package as it is built, a page that uses it, and a fake server behind `/api`.

import { readFile } from "node:fs/promises";
import { createServer, type IncomingMessage, request as ask, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { Readable, Transform } from "node:stream";

import { FakeServer } from "../../src/testing.js";

const DIST = new URL("../../dist/", import.meta.url);

/**
 * What a test says in a page: `begin(name, url, options)` subscribes, and `runs[name]` has what was heard. `mode` takes
 * away what the page would share connections with.
 */
const PAGE = `<!doctype html><meta charset="utf-8"><title>test</title><link rel="icon" href="data:,">
<script>
  const mode = new URLSearchParams(location.search).get("mode");
  if (mode === "locks" || mode === "alone") delete window.SharedWorker;
  if (mode === "alone") Object.defineProperty(navigator, "locks", { value: undefined });
</script>
<script type="module">
  import * as sse from "/pkg/index.js";
  window.sse = sse;
  window.runs = {};
  window.begin = (name, url, options = {}) => {
    const run = window.runs[name] = { data: [], gaps: [], ready: 0, states: [], ends: [] };
    run.subscription = sse.subscribe(url, {
      onEvent: ({ event, data }) => run.data.push(event === "message" ? data : event + ":" + data),
      onGap: ({ reason }) => run.gaps.push(reason),
      onReady: () => run.ready++,
      onState: (is) => run.states.push(is),
      onEnd: (error) => run.ends.push(error ? error.status : 0),
      ...options,
    });
  };
  window.told = (name) => {
    const { subscription, ...told } = window.runs[name] ?? {};
    return told;
  };
  window.isReady = true;
</script>`;

export class WebServer {
  readonly fake = new FakeServer();
  /** Paths below /pkg/ that are answered with 404, as by a bundler that has lost them. */
  readonly missing = new Set<string>();
  /** Bytes that pass in a second, from the gateway to each page; none: the network hangs, as of a machine that sleeps. */
  rate = Infinity;
  readonly #server: Server;

  private constructor(server: Server) {
    this.#server = server;
  }

  /** With a `gateway`, that is behind `/api` in place of the fake one. */
  static async start(gateway?: string): Promise<WebServer> {
    const server = createServer();
    const web = new WebServer(server);
    server.on("request", (incoming, outgoing) => {
      if (gateway && incoming.url?.startsWith("/api/")) return pass(gateway, incoming, outgoing, () => web.rate);
      const gone = new AbortController();
      outgoing.on("close", () => gone.abort());
      const body = incoming.method === "GET" || incoming.method === "HEAD" ? null : (Readable.toWeb(incoming) as ReadableStream);
      const request = new Request(new URL(incoming.url ?? "/", web.url), {
        method: incoming.method ?? "GET", headers: new Headers(incoming.headers as Record<string, string>), body,
        signal: gone.signal, duplex: "half",
      } as RequestInit);
      web.#answer(request).then((answer) => send(answer, outgoing)).catch(() => outgoing.destroy());
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    return web;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** Breaks all connections, as a network does that goes away. */
  cut(): void {
    this.#server.closeAllConnections();
  }

  async stop(): Promise<void> {
    this.cut();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  async #answer(request: Request): Promise<Response> {
    const { pathname } = new URL(request.url);
    if (pathname.startsWith("/api/")) return this.fake.answer(request);
    const html = { headers: { "Content-Type": "text/html" } };
    if (pathname === "/other") return new Response("<!doctype html><title>other</title>", html);
    if (!pathname.startsWith("/pkg/")) return new Response(PAGE, html);
    const name = pathname.slice(5);
    if (this.missing.has(name)) return new Response(null, { status: 404 });
    return new Response(await readFile(new URL(name, DIST)), { headers: { "Content-Type": "text/javascript" } });
  }
}

async function send(answer: Response, to: ServerResponse): Promise<void> {
  to.writeHead(answer.status, Object.fromEntries(answer.headers));
  if (answer.body) {
    to.flushHeaders();
    for await (const piece of answer.body) to.write(piece);
  }
  to.end();
}

/** As a proxy in front of the gateway does. */
function pass(gateway: string, incoming: IncomingMessage, outgoing: ServerResponse, rate: () => number): void {
  const to = new URL(incoming.url ?? "/", gateway);
  const asked = ask(to, { method: incoming.method, headers: { ...incoming.headers, host: to.host } }, (answer) => {
    outgoing.writeHead(answer.statusCode ?? 502, answer.headers);
    outgoing.flushHeaders();
    answer.on("error", () => outgoing.destroy());
    answer.pipe(slowed(rate)).pipe(outgoing);
  });
  asked.on("error", () => outgoing.destroy());
  outgoing.on("close", () => asked.destroy());
  incoming.pipe(asked);
}

function slowed(rate: () => number): Transform {
  let room = 0;
  return new Transform({
    highWaterMark: 1024,
    async transform(piece: Buffer, _, done) {
      room -= piece.length;
      for (; room < 0 && rate() !== Infinity; room += rate() / 50) await new Promise((resolve) => setTimeout(resolve, 20));
      room = Math.max(room, 0);
      done(null, piece);
    },
  });
}
