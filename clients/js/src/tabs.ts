// Where the hub is: in a shared worker; else in the tab that holds a lock, for a stream each; else in this page.
// Not for what a hub does (hub.ts). Loaded when the first stream is shared, so that others do without its weight.

import type { Sink, Target } from "./connection.js";
import { type Bus, hasToken, Hub, keyOf } from "./hub.js";
import { CHANNEL, SESSION } from "./message.js";
import { Client, type Down, Peer, type Up } from "./remote.js";

let shared: Bus | undefined;

/** The bus of this page. */
export function bus(): Bus {
  return (shared ??= inWorker() ?? inTabs());
}

function inTabs(): Bus {
  // Locks are only there in secure contexts.
  return typeof navigator === "object" && navigator.locks && typeof BroadcastChannel === "function"
    ? new Tabs() : new Hub();
}

function inWorker(): Bus | undefined {
  if (typeof SharedWorker !== "function") return undefined;
  try {
    // Written so that bundlers find the file.
    const worker = new SharedWorker(new URL("./worker.js", import.meta.url), { type: "module", name: CHANNEL });
    const client = new Client((up) => worker.port.postMessage(up));
    worker.port.onmessage = ({ data }) => client.take(data as Down);
    // The file is not where it should be (a bundler that does not know workers), or a policy forbids workers.
    worker.onerror = () => client.move((shared = inTabs()));
    let release = hold((lock) => worker.port.postMessage({ lock }));
    addEventListener("pagehide", () => release());
    addEventListener("pageshow", ({ persisted }) => {
      if (persisted) release = hold((lock) => worker.port.postMessage({ lock }));
    });
    return client;
  } catch {
    return undefined;
  }
}

/**
 * The worker sees by a lock that the page is gone, when it goes without a word. A page that is kept for the way back has none
 * (its streams have left by themselves): not every browser keeps a page that holds one. Answers how to let go.
 */
function hold(say: (lock: string) => void): () => void {
  const name = `${CHANNEL} ${Math.random()}`;
  let isOver = false;
  let release = () => {};
  navigator.locks?.request(name, () => {
    if (isOver) return;
    say(name);
    return new Promise<void>((resolve) => (release = resolve));
  });
  return () => {
    isOver = true;
    say("");
    release();
  };
}

/**
 * A name for a stream in which its token cannot be read: browsers list the names of locks. Two streams with one name would
 * but share a leader, whose hub tells them apart.
 */
function digest(key: string): string {
  const parts = [0x01000193, 0x5bd1e995].map((prime) => {
    let hash = key.length;
    for (let at = 0; at < key.length; at++) hash = Math.imul(hash ^ key.charCodeAt(at), prime) ^ (hash >>> 15);
    return (hash >>> 0).toString(36);
  });
  return parts.join("-");
}

/** What tabs say to each other, on a channel for each stream. */
type Said =
  | { readonly leads: true }
  | { readonly from: string; readonly up: Up }
  | { readonly to: string; readonly down: Down };

/** One tab leads for as long as it listens itself, and so is there to serve the others; then another one does. */
class Tabs implements Bus {
  readonly #hub = new Hub();
  readonly #rooms = new Map<string, { client: Client; close: () => void }>();

  constructor() {
    // As the hub does it, in each tab: the tab that leads may be gone before its word of it has come.
    new BroadcastChannel(CHANNEL).onmessage = () => {
      for (const [key, { client }] of [...this.#rooms]) if (!hasToken(key)) client.end(SESSION);
    };
  }

  join(target: Target, id: string, sink: Sink): () => void {
    const key = keyOf(target);
    let room = this.#rooms.get(key);
    if (!room) this.#rooms.set(key, (room = this.#open(`${CHANNEL} ${digest(key)}`)));
    const { client, close } = room;
    // Later: where a stream ends, the others, whom this tab may lead, are to hear of it first.
    const away = () => queueMicrotask(() => {
      if (client.members.size || this.#rooms.get(key)?.client !== client) return;
      this.#rooms.delete(key);
      close();
    });
    const leave = client.join(target, id, {
      message: (message) => sink.message(message),
      connected: (is) => sink.connected(is),
      end: (problem) => {
        away();
        sink.end(problem);
      },
    });
    return () => {
      leave();
      away();
    };
  }

  wake(): void {
    for (const { client } of this.#rooms.values()) client.wake();
  }

  #open(name: string): { client: Client; close: () => void } {
    const me = `${Math.random()}`;
    const channel = new BroadcastChannel(name);
    const peers = new Map<string, Peer>();
    const say = (said: Said) => channel.postMessage(said);
    const client = new Client((up) => say({ from: me, up }));
    let leads = false;
    channel.onmessage = ({ data }: MessageEvent<Said>) => {
      if ("leads" in data) client.move();
      else if ("to" in data) {
        if (data.to === me) client.take(data.down);
      } else if (leads) {
        const { from, up } = data;
        let peer = peers.get(from);
        if (!peer) peers.set(from, (peer = new Peer(this.#hub, (down) => say({ to: from, down }))));
        peer.take(up);
      }
    };
    const stop = new AbortController();
    let release = () => {};
    navigator.locks.request(name, { signal: stop.signal }, () => {
      // The signal has no effect on a lock that is granted already.
      if (stop.signal.aborted) return;
      leads = true;
      client.move(this.#hub);
      say({ leads: true });
      return new Promise<void>((resolve) => (release = resolve));
    }).catch(() => {});
    return {
      client,
      close: () => {
        leads = false;
        for (const peer of peers.values()) peer.close();
        channel.close();
        stop.abort();
        release();
      },
    };
  }
}
