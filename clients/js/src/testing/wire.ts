// Answers of the fake server, as bytes.

import type { Message } from "../message.js";

export const text = (data: unknown) => (typeof data === "string" ? data : JSON.stringify(data));

export const problem = (status: number, detail: string) =>
  new Response(JSON.stringify({ type: "about:blank", title: `HTTP ${status}`, status, detail }), {
    status, headers: { "Content-Type": "application/problem+json" },
  });

/** One event as bytes, as docs/streams.md writes it. */
export function block({ id, event, data }: Message, retry?: number): string {
  const lines = data.split(/\r\n|\r|\n/).map((line) => `data: ${line}\n`).join("");
  return `${retry === undefined ? "" : `retry: ${retry}\n`}id: ${id}\n${event === "message" ? "" : `event: ${event}\n`}${lines}\n`;
}

/** One open answer. */
export class Open {
  #body!: ReadableStreamDefaultController<Uint8Array>;
  readonly answer: Response;

  constructor(signal: AbortSignal | undefined, gone: () => void) {
    const body = new ReadableStream<Uint8Array>({ start: (controller) => void (this.#body = controller), cancel: gone });
    signal?.addEventListener("abort", () => {
      gone();
      this.#try(() => this.#body.error(signal.reason));
    });
    this.answer = new Response(body, { headers: { "Content-Type": "text/event-stream" } });
    this.write(": connected\n\n");
  }

  write(piece: string): void {
    this.#try(() => this.#body.enqueue(new TextEncoder().encode(piece)));
  }

  end(): void {
    this.#try(() => this.#body.close());
  }

  break(): void {
    this.#try(() => this.#body.error(new TypeError("network error")));
  }

  /** Whoever has gone is written to in vain. */
  #try(action: () => void): void {
    try {
      action();
    } catch {
      // Closed or cancelled already.
    }
  }
}
