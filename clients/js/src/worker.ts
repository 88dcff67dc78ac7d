// The shared worker: one hub for all tabs of an origin.

import { Hub } from "./hub.js";
import { Peer, type Up } from "./remote.js";

const hub = new Hub();

// The compiler knows pages, not workers.
const scope = globalThis as unknown as { onconnect: (event: MessageEvent) => void };

scope.onconnect = ({ ports }) => {
  const port = ports[0];
  if (!port) return;
  const peer = new Peer(hub, (down) => port.postMessage(down));
  let held = "";
  port.onmessage = ({ data }: MessageEvent<Up & { readonly lock?: string }>) => {
    const { lock } = data;
    if (lock === undefined) return peer.take(data);
    held = lock;
    // Granted when the page is gone, or has let go of it: then it may come back, with another one.
    if (lock) void navigator.locks.request(lock, () => held === lock && peer.close());
  };
};

globalThis.addEventListener("online", () => hub.wake());
