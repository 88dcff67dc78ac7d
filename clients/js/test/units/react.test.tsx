// @vitest-environment happy-dom
import { act, StrictMode, useState } from "react";
import { createRoot, type Root } from "react-dom/client";
import { renderToString } from "react-dom/server";
import { afterEach, describe, expect, it } from "vitest";

import { call, type Settled } from "../../src/index.js";
import { useEvents, useLive } from "../../src/react.js";
import { FakeServer } from "../../src/testing.js";
import { until } from "./wait.js";

interface Todo { id: number; title: string }

(globalThis as { IS_REACT_ACT_ENVIRONMENT?: boolean }).IS_REACT_ACT_ENVIRONMENT = true;
const base = "http://fake.test";
const roots: Root[] = [];

afterEach(async () => {
  for (const root of roots.splice(0)) await act(async () => root.unmount());
});

function serve() {
  const server = new FakeServer();
  const stream = server.stream("/api/todo-live/info");
  const table: Todo[] = [{ id: 1, title: "a" }];
  stream.snapshot = () => table;
  return { server, stream };
}

async function render(element: React.ReactNode) {
  const root = createRoot(document.createElement("div"));
  roots.push(root);
  const box = (root as unknown as { _internalRoot: { containerInfo: HTMLElement } })._internalRoot.containerInfo;
  await act(async () => root.render(element));
  const shows = async (wanted: string) => {
    for (let round = 0; round < 500 && box.textContent !== wanted; round++) await act(() => new Promise((resolve) => setTimeout(resolve, 5)));
    expect(box.textContent).toBe(wanted);
  };
  return { root, shows };
}

describe("useLive", () => {
  function List({ server, path = "/api/todo-live/info" }: { server: FakeServer; path?: string | null }) {
    const { rows, state } = useLive<Todo>(path && base + path, { key: "id", fetch: server.fetch });
    return <>{state}: {rows.map(({ title }) => title).join(",")}</>;
  }

  it("shows the rows and each change, in Strict Mode over one stream, and closes it in the end", async () => {
    const { server, stream } = serve();
    const { root, shows } = await render(<StrictMode><List server={server} /></StrictMode>);
    await shows("live: a");
    expect(stream.requests).toHaveLength(1);
    stream.change("todo", ["id"], null, { id: 2, title: "b" });
    await shows("live: a,b");
    await act(async () => root.unmount());
    await until(() => stream.subscribers === 0);
  });

  it("gives its stream, for calls whose own change it will show", async () => {
    const { server, stream } = serve();
    server.routine("/api/todo-live", ({ raise }) => raise("x"));
    let settle!: () => Promise<Settled>;
    function Page() {
      const { rows, stream: own } = useLive<Todo>(`${base}/api/todo-live/info`, { key: "id", fetch: server.fetch });
      settle = async () => (await call(`${base}/api/todo-live`, {}, { stream: own, fetch: server.fetch })).settled;
      return <>{rows.length}</>;
    }
    const { shows } = await render(<StrictMode><Page /></StrictMode>);
    await shows("1");
    let settled: Settled | undefined;
    await act(async () => void (settled = await settle()));
    expect(settled).toEqual({ seen: true });
    expect(stream.requests).toHaveLength(1);
  });

  it("opens another stream for another URL, and none for null", async () => {
    const { server, stream } = serve();
    const other = server.stream("/api/other/info");
    other.snapshot = () => [{ id: 9, title: "z" }];
    let go!: (path: string | null) => void;
    function Page() {
      const [path, setPath] = useState<string | null>("/api/todo-live/info");
      go = setPath;
      return <List server={server} path={path} />;
    }
    const { shows } = await render(<Page />);
    await shows("live: a");
    await act(async () => go("/api/other/info"));
    await shows("live: z");
    await until(() => stream.subscribers === 0);
    await act(async () => go(null));
    await shows("loading: ");
    await until(() => other.subscribers === 0);
  });

  it("renders on a server what it was given, without a stream", () => {
    const { server, stream } = serve();
    function Page() {
      const { rows } = useLive<Todo>(`${base}/api/todo-live/info`, {
        key: "id", fetch: server.fetch, initial: { rows: [{ id: 1, title: "served" }], id: "1-0" },
      });
      return <p>{rows[0]?.title}</p>;
    }
    expect(renderToString(<Page />)).toBe("<p>served</p>");
    expect(stream.requests).toHaveLength(0);
  });
});

it("useEvents tells the handlers of the last rendering, over one stream", async () => {
  const server = new FakeServer();
  const stream = server.stream("/api/f/info");
  const heard: string[] = [];
  let rename!: (name: string) => void;
  function Page() {
    const [name, setName] = useState("first");
    rename = setName;
    useEvents(`${base}/api/f/info`, { fetch: server.fetch, onEvent: ({ data }) => heard.push(`${name}:${data}`) });
    return null;
  }
  const { root } = await render(<Page />);
  await until(() => stream.subscribers === 1);
  stream.publish("a");
  await until(() => heard.length === 1);
  await act(async () => rename("second"));
  stream.publish("b");
  await until(() => heard.length === 2);
  expect(heard).toEqual(["first:a", "second:b"]);
  expect(stream.requests).toHaveLength(1);
  await act(async () => root.unmount());
  await until(() => stream.subscribers === 0);
});
