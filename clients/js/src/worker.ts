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
  port.onmessage = ({ data }: MessageEvent<Up & { readonly lock?: string }>) => {
    if (data.lock === undefined) peer.take(data);
    // Granted when the page is gone.
    else void navigator.locks.request(data.lock, () => peer.close());
  };
};

globalThis.addEventListener("online", () => hub.wake());
