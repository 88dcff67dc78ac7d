// A hub in another place (a worker, another tab), and who is with it: what both sides say to each other. Not for which
// place that is (tabs.ts).

import type { Sink, Target } from "./connection.js";
import type { Bus } from "./hub.js";
import type { Message, Problem } from "./message.js";

/** To the hub: number `n` joins (`to`, from `id`), or leaves; without a number, all shall wake. */
export type Up = { readonly n?: number; readonly to?: Target; readonly id?: string };
/** From the hub, for number `n`: a message, connected or not, the end (null: without a problem). */
export type Down = { readonly n: number; readonly m?: Message; readonly c?: boolean; readonly e?: Problem | null };

interface Member {
  n: number;
  readonly target: Target;
  readonly sink: Sink;
  id: string;
  /** Where it is a member now, if not with the hub. */
  leave?: () => void;
}

/** The side of those who listen. */
export class Client implements Bus {
  /** Numbers are never given twice, so what is still on its way for an old one goes nowhere. */
  #next = 0;
  readonly members = new Set<Member>();
  #post: (up: Up) => void;
  /** Where members are from now on, in place of the hub. */
  #bus: Bus | undefined;

  constructor(post: (up: Up) => void) {
    this.#post = post;
  }

  join(target: Target, id: string, sink: Sink): () => void {
    const member: Member = { n: 0, target, sink, id };
    this.members.add(member);
    this.#enter(member);
    return () => this.#leave(member);
  }

  /** For all members. */
  end(problem: Problem): void {
    for (const member of [...this.members]) {
      this.#leave(member);
      member.sink.end(problem);
    }
  }

  wake(): void {
    if (this.#bus) this.#bus.wake();
    else this.#post({});
  }

  take({ n, m, c, e }: Down): void {
    for (const member of [...this.members]) {
      if (member.n !== n || member.leave) continue;
      if (m) {
        member.id = m.id;
        member.sink.message(m);
      }
      if (c !== undefined) member.sink.connected(c);
      if (e !== undefined) {
        this.members.delete(member);
        member.sink.end(e ?? undefined);
      }
    }
  }

  /** All members go there, each from where it is: with a bus, to that; without, to the hub anew. */
  move(bus?: Bus): void {
    this.#bus = bus;
    for (const member of [...this.members]) {
      member.leave?.();
      delete member.leave;
      this.#enter(member);
    }
  }

  #leave(member: Member): void {
    if (!this.members.delete(member)) return;
    if (member.leave) member.leave();
    else this.#post({ n: member.n });
  }

  #enter(member: Member): void {
    const { target, sink } = member;
    member.n = ++this.#next;
    if (!this.#bus) return this.#post({ n: member.n, to: target, id: member.id });
    member.leave = this.#bus.join(target, member.id, {
      message: (message) => {
        member.id = message.id;
        sink.message(message);
      },
      connected: (is) => sink.connected(is),
      end: (problem) => {
        this.members.delete(member);
        sink.end(problem);
      },
    });
  }
}

/** The side of the hub: the members of one peer. */
export class Peer {
  readonly #hub: Bus;
  readonly #post: (down: Down) => void;
  readonly #leave = new Map<number, () => void>();

  constructor(hub: Bus, post: (down: Down) => void) {
    this.#hub = hub;
    this.#post = post;
  }

  take({ n, to, id }: Up): void {
    if (n === undefined) return this.#hub.wake();
    this.#leave.get(n)?.();
    this.#leave.delete(n);
    if (!to) return;
    this.#leave.set(n, this.#hub.join(to, id ?? "", {
      message: (m) => this.#post({ n, m }),
      connected: (c) => this.#post({ n, c }),
      end: (problem) => this.#post({ n, e: problem ?? null }),
    }));
  }

  close(): void {
    for (const leave of this.#leave.values()) leave();
    this.#leave.clear();
  }
}
