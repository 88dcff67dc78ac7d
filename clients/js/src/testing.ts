// A server for tests of applications: what pg_sse does, without a network. Give its `fetch` to whatever is tested.
// Not a gateway: no scopes, no tokens, no SQL; it answers what the test has told it to.

import { answerCall, FakeProblem, type FakeCall, type FakeRoutine } from "./testing/calls.js";
import { type Clock, FakeStream } from "./testing/stream.js";
import { problem } from "./testing/wire.js";

export { FakeProblem, FakeStream, type FakeCall, type FakeRoutine };

export class FakeServer {
  readonly #streams = new Map<string, FakeStream>();
  readonly #routines = new Map<string, FakeRoutine>();
  readonly #clock: Clock = { boot: 1, now: 0, retry: 10 };
  #isDown = false;

  /** Instead of the global one. */
  readonly fetch: typeof fetch = async (input, init) => {
    const request = input instanceof Request ? new Request(input, init) : new Request(new URL(input, "http://fake.test"), init);
    if (this.#isDown) throw new TypeError("fetch failed");
    return this.answer(request);
  };

  /** The stream of this path, which is there from now on. */
  stream(path: string): FakeStream {
    let stream = this.#streams.get(path);
    if (!stream) this.#streams.set(path, (stream = new FakeStream(this.#clock)));
    return stream;
  }

  /** Answers calls of this path. */
  routine(path: string, routine: FakeRoutine): void {
    this.#routines.set(path, routine);
  }

  /** Neither answers nor keeps connections, until it is up. */
  down(): void {
    this.#isDown = true;
    for (const stream of this.#streams.values()) stream.cut();
  }

  up(): void {
    this.#isDown = false;
  }

  /** As a restart of Postgres: streams end, and ids from before it lead to the gap `restarted`. */
  restart(): void {
    this.#clock.boot++;
    for (const stream of this.#streams.values()) {
      stream.forget();
      stream.cut("end");
    }
  }

  /** What `fetch` calls; for a server of your own in front of it. */
  async answer(request: Request): Promise<Response> {
    const { pathname } = new URL(request.url);
    const routine = this.#routines.get(pathname);
    if (routine) return answerCall(request, routine, this.#streams.get(`${pathname}/info`));
    const stream = this.#streams.get(pathname);
    return stream ? stream.answer(request) : problem(404, `no such path: ${pathname}`);
  }
}
