// Rows by key, and what the events of a stream do to them. Not for the stream (live.ts).

import type { Message } from "./message.js";

/** One event of `sse.publish_change` (docs/row-changes.md). */
export interface Change {
  readonly op: "INSERT" | "UPDATE" | "DELETE";
  readonly schema: string;
  readonly table: string;
  readonly key: Readonly<Record<string, unknown>> | null;
  readonly new: Readonly<Record<string, unknown>> | null;
  readonly old: Readonly<Record<string, unknown>> | null;
}

/** Columns that make a row one: their names as the rows have them, or what makes a text or number of a row. */
export type Key<Row> = (keyof Row & string) | readonly (keyof Row & string)[] | ((row: Row) => string | number);

/** A column's name as answers of calls have it, and so do rows of a snapshot. */
function camelCase(name: string): string {
  const words = name.split("_").filter((word) => word);
  if (!words.length) return name;
  return words.map((word, at) => {
    const first = String.fromCodePoint(word.codePointAt(0) as number);
    return (at ? first.toUpperCase() : first.toLowerCase()) + word.slice(first.length);
  }).join("");
}

/** The row with its columns' names in camelCase; two that would be the same keep their own, as in answers. */
export function camelRow(row: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const names = Object.keys(row);
  const camel = names.map(camelCase);
  return Object.fromEntries(names.map((name, at) => {
    const mine = camel[at] as string;
    return [camel.indexOf(mine) === camel.lastIndexOf(mine) ? mine : name, row[name]];
  }));
}

export class Rows<Row extends object> {
  readonly byKey = new Map<string, Row>();
  readonly #key: (row: Row) => string;
  readonly #named: (row: object) => Row;
  #list: readonly Row[] | undefined = [];

  /** `names`: whether rows have their columns' names in camelCase, or as SQL has them. */
  constructor(key: Key<Row>, names: "camel" | "sql") {
    this.#key = (row) => {
      if (typeof key === "function") return String(key(row));
      const columns: readonly (keyof Row & string)[] = typeof key === "string" ? [key] : key;
      const values = columns.map((column) => row[column]);
      // One missing column would make all rows the same one.
      if (values.includes(undefined as Row[keyof Row & string])) {
        throw new Error(`A row without ${columns.join(", ")}: ${Object.keys(row).join(", ")}`);
      }
      return JSON.stringify(values);
    };
    this.#named = (row) => (names === "camel" ? camelRow(row as Record<string, unknown>) : row) as Row;
  }

  /** The rows in the order in which they came; the same array until something changes. */
  get list(): readonly Row[] {
    return (this.#list ??= [...this.byKey.values()]);
  }

  /** In place of all rows. */
  replace(rows: Iterable<object>): void {
    this.byKey.clear();
    for (const row of rows) this.put(this.#named(row));
    this.touch();
  }

  put(row: Row): void {
    this.byKey.set(this.#key(row), row);
    this.touch();
  }

  touch(): void {
    this.#list = undefined;
  }

  /** Applies a change; false if this message is none. */
  change({ event, data }: Message): boolean {
    if (event !== "insert" && event !== "update" && event !== "delete") return false;
    const { key, new: to, old: from } = JSON.parse(data) as Change;
    const gone = from && this.#key(this.#named({ ...from, ...key }));
    if (!to) this.byKey.delete(gone as string);
    else {
      const row = this.#named({ ...to, ...key });
      const now = this.#key(row);
      // A trigger may show some columns only: the others stay as they were.
      const merged = { ...this.byKey.get(gone ?? now), ...row };
      if (gone && gone !== now) this.byKey.delete(gone);
      this.byKey.set(now, merged);
    }
    this.touch();
    return true;
  }
}
