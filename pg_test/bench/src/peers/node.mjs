// Node's HTTP server and pg's LISTEN, as somebody who knows both would write it.
import { createServer } from "node:http";
import pg from "pg";

const responses = new Set();
const client = new pg.Client({ host: process.argv[2], port: 5432, user: "app", database: "postgres" });
await client.connect();
client.on("notification", ({ payload }) => {
  const event = `data: ${payload}\n\n`;
  for (const response of responses) response.write(event);
});
await client.query("listen bench");

const server = createServer((request, response) => {
  response.writeHead(200, { "Content-Type": "text/event-stream", "Cache-Control": "no-store" });
  response.flushHeaders();
  responses.add(response);
  response.on("close", () => responses.delete(response));
});
server.listen({ port: 0, host: "127.0.0.1", backlog: 1024 }, () => console.log(server.address().port));
