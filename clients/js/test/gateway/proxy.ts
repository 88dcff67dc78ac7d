// What stands between a client and the gateway, and can be cut: a network that goes away.

import { connect, createServer, type AddressInfo, type Server, type Socket } from "node:net";

import { GATEWAY } from "./control.js";

export class Proxy {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  #isDown = false;

  private constructor() {
    const { hostname, port } = new URL(GATEWAY);
    this.#server = createServer((near) => {
      if (this.#isDown) return void near.destroy();
      const far = connect(Number(port), hostname);
      for (const [one, other] of [[near, far], [far, near]] as const) {
        this.#sockets.add(one);
        one.on("close", () => {
          this.#sockets.delete(one);
          other.destroy();
        });
        one.on("error", () => {});
      }
      near.pipe(far).pipe(near);
    });
  }

  static async start(): Promise<Proxy> {
    const proxy = new Proxy();
    await new Promise<void>((resolve) => proxy.#server.listen(0, "127.0.0.1", resolve));
    return proxy;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** Breaks all connections. */
  cut(): void {
    for (const socket of this.#sockets) socket.resetAndDestroy();
  }

  down(): void {
    this.#isDown = true;
    this.cut();
  }

  up(): void {
    this.#isDown = false;
  }

  stop(): void {
    this.cut();
    this.#server.close();
  }
}
