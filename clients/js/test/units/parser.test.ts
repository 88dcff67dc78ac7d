import { createParser } from "eventsource-parser";
import { describe, expect, it } from "vitest";

import { type Message, Parser, read } from "../../src/index.js";

/** All messages of a text that comes in these pieces, as `id event data`. */
function parse(...pieces: string[]): Message[] {
  const found: Message[] = [];
  const parser = new Parser((message) => found.push(message));
  for (const piece of pieces) parser.push(piece);
  return found;
}

const data = (text: string) => parse(text).map((message) => message.data);

// What FACTS calls the tricky payloads: expectations are worked out by hand from WHATWG HTML section 9.2.6.
const CASES: [name: string, text: string, found: [id: string, event: string, data: string][]][] = [
  ["a byte order mark at the start is no part of a field", "\ufeffdata: a\n\n", [["", "message", "a"]]],
  ["a second one is", "\ufeff\ufeffdata: a\n\n", []],
  ["lines end with LF", "data: a\ndata: b\n\n", [["", "message", "a\nb"]]],
  ["lines end with CR", "data: a\rdata: b\r\r", [["", "message", "a\nb"]]],
  ["lines end with CRLF", "data: a\r\ndata: b\r\n\r\n", [["", "message", "a\nb"]]],
  ["line ends may be mixed", "data: a\rdata: b\r\n\ndata: c\n\r", [["", "message", "a\nb"], ["", "message", "c"]]],
  ["comments say nothing", ": x\n:data: y\ndata: a\n: z\n\n", [["", "message", "a"]]],
  ["one blank after the colon is no part of the value", "data:a\ndata:  b\n\n", [["", "message", "a\n b"]]],
  ["a line without a colon is a field without a value", "data\ndata\n\n", [["", "message", "\n"]]],
  ["empty data is an event", "data:\n\n", [["", "message", ""]]],
  ["a block without data is none", "event: x\nid: 7\n\ndata: a\n\n", [["7", "message", "a"]]],
  ["an id is kept until another one comes", "id: 1\ndata: a\n\ndata: b\n\n", [["1", "message", "a"], ["1", "message", "b"]]],
  ["an empty id takes it away", "id: 1\ndata: a\n\nid\ndata: b\n\n", [["1", "message", "a"], ["", "message", "b"]]],
  ["an id with NUL is ignored", "id: 1\ndata: a\n\nid: 2\0\ndata: b\n\n", [["1", "message", "a"], ["1", "message", "b"]]],
  ["a name is for one event", "event: x\ndata: a\n\ndata: b\n\n", [["", "x", "a"], ["", "message", "b"]]],
  ["the last name counts", "event: x\nevent: y\ndata: a\n\n", [["", "y", "a"]]],
  ["unknown fields are ignored, and so is case that is not right", "Data: x\nfoo: y\ndata: a\n\n", [["", "message", "a"]]],
  ["what does not end with a blank line is no event", "data: a\n\ndata: b\n", [["", "message", "a"]]],
  ["a colon in the value is part of it", "data: a: b\n\n", [["", "message", "a: b"]]],
];

describe("the parser", () => {
  for (const [name, text, found] of CASES) {
    it(name, () => expect(parse(text)).toEqual(found.map(([id, event, data]) => ({ id, event, data }))));
    it(`${name}, wherever the text is broken`, () => {
      const whole = parse(text);
      for (let at = 0; at <= text.length; at++) expect(parse(text.slice(0, at), text.slice(at))).toEqual(whole);
      expect(parse(...text)).toEqual(whole);
    });
  }

  it("dispatches an event that ends with CR before more comes", () => {
    expect(parse("data: a\r\r")).toHaveLength(1);
    expect(data("data: a\r\r\ndata: b\r\r")).toEqual(["a", "b"]);
  });

  it("takes retry of digits alone", () => {
    const retries: number[] = [];
    const parser = new Parser(() => {}, (retry) => retries.push(retry));
    parser.push("retry: 10\nretry: 1e3\nretry: -1\nretry:\nretry: 1 \nretry: 020\n");
    expect(retries).toEqual([10, 20]);
  });

  it("goes on from the id that it is given", () => {
    const found: Message[] = [];
    new Parser((message) => found.push(message), undefined, "9").push("data: a\n\n");
    expect(found[0]?.id).toBe("9");
  });

  it("reads bytes that break within a character", async () => {
    const bytes = new TextEncoder().encode("\ufeffdata: ä€😀\n\n\ufeffdata: b\n\n");
    const found: Message[] = [];
    const body = new ReadableStream<Uint8Array>({
      start(controller) {
        for (const byte of bytes) controller.enqueue(Uint8Array.of(byte));
        controller.close();
      },
    });
    await read(body, new Parser((message) => found.push(message)));
    expect(found.map((message) => message.data)).toEqual(["ä€😀"]);
  });

  it("agrees with eventsource-parser on text of any kind", () => {
    const tokens = ["data", "event", "id", "retry", ":", ": ", " ", "\n", "\n", "\n\n", "\r", "\r\n", "x", "7", "\0", "ä", "😀", "\ufeff"];
    let seed = 20261129;
    const random = (below: number) => {
      seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
      return Math.floor((seed / 2 ** 32) * below);
    };
    for (let round = 0; round < 20_000; round++) {
      const pieces = Array.from({ length: 1 + random(4) }, () =>
        Array.from({ length: random(12) }, () => tokens[random(tokens.length)]).join(""));
      // Theirs holds back what ends with CR, and looks for a byte order mark as it would be in Latin-1.
      pieces.push("\n\n\n");
      const theirs: { event: string; data: string }[] = [];
      const retries: [number[], number[]] = [[], []];
      const parser = createParser({
        onEvent: ({ event, data }) => theirs.push({ event: event || "message", data }),
        onRetry: (retry) => retries[0].push(retry),
      });
      parser.feed(pieces.join("").replace(/^\ufeff/, ""));
      const ours: Message[] = [];
      const mine = new Parser((message) => ours.push(message), (retry) => retries[1].push(retry));
      for (const piece of pieces) mine.push(piece);
      const text = JSON.stringify(pieces);
      expect(ours.map(({ event, data }) => ({ event, data })), text).toEqual(theirs);
      expect(retries[1], text).toEqual(retries[0]);
    }
  });
});
