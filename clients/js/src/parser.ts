// Text of a stream becomes messages, as WHATWG HTML section 9.2.6 says and browsers do it.
// Not for bytes: `read` decodes them.

import type { Message } from "./message.js";

/** Takes the text of one connection, in pieces that may break anywhere. */
export class Parser {
  /** The last event id, which a blank line sets even where no event comes of its block. */
  id: string;
  #message: (message: Message) => void;
  #retry: ((milliseconds: number) => void) | undefined;
  #nextId: string;
  #event = "";
  #data: string | undefined;
  /** The line that has not ended yet. */
  #rest = "";
  #begun = false;
  /** The last piece ended with CR, which has ended its line: an LF that follows belongs to it. */
  #carriageReturn = false;

  constructor(message: (message: Message) => void, retry?: (milliseconds: number) => void, id = "") {
    this.#message = message;
    this.#retry = retry;
    this.id = this.#nextId = id;
  }

  push(text: string): void {
    if (!text) return;
    let from = 0;
    if (!this.#begun) {
      this.#begun = true;
      if (text[0] === "\ufeff") from = 1;
    } else if (this.#carriageReturn && text[0] === "\n") from = 1;
    const ends = /\r\n?|\n/g;
    ends.lastIndex = from;
    for (let end; (end = ends.exec(text)); from = ends.lastIndex) {
      const line = this.#rest + text.slice(from, end.index);
      this.#rest = "";
      this.#line(line);
    }
    this.#rest += text.slice(from);
    this.#carriageReturn = text.endsWith("\r");
  }

  #line(line: string): void {
    if (!line) return this.#dispatch();
    const colon = line.indexOf(":");
    if (!colon) return; // a comment
    const field = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(line[colon + 1] === " " ? colon + 2 : colon + 1);
    if (field === "data") this.#data = this.#data === undefined ? value : `${this.#data}\n${value}`;
    else if (field === "event") this.#event = value;
    else if (field === "id" && !value.includes("\0")) this.#nextId = value;
    else if (field === "retry" && /^\d+$/.test(value)) this.#retry?.(+value);
  }

  #dispatch(): void {
    const [event, data] = [this.#event || "message", this.#data];
    this.#event = "";
    this.#data = undefined;
    this.id = this.#nextId;
    // One empty `data:` line is an event with empty data; a block without any is none.
    if (data !== undefined) this.#message({ id: this.id, event, data });
  }
}

/**
 * Reads a body to its end; `alive` is called for each piece, comments included. What the body leaves unfinished is no
 * event.
 */
export async function read(body: ReadableStream<Uint8Array>, parser: Parser, alive?: () => void): Promise<void> {
  // The parser takes the byte order mark away; the decoder would take away a second one of the next piece.
  const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
  const reader = body.getReader();
  try {
    for (let piece; !(piece = await reader.read()).done; ) {
      alive?.();
      parser.push(decoder.decode(piece.value, { stream: true }));
    }
  } finally {
    // Whoever throws out of a handler leaves no connection open.
    reader.cancel().catch(() => {});
  }
}
