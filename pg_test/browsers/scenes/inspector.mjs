// A shop on a busy day, for two minutes: the charts want something to draw.

import { sql } from "../server.mjs";

export const SIZE = { width: 1440, height: 1218, deviceScaleFactor: 1 };

const PUBLIC = process.env.PG_SSE_PUBLIC_URL;

/** A chart shows whole minutes: nearly two of them. */
const SECONDS = 114;

// What the tests have is not a shop's.
const SETUP = `
drop function heard, mistaken, fails, call_ready;
create schema shop;
create table shop.item (id int generated always as identity primary key, place text, count int);
insert into shop.item (place, count) select 'A-' || n, n from generate_series(1, 40) n;
create trigger told after insert or update or delete on shop.item for each row execute function sse.publish_change('all');
create function shop.placed(number int, total numeric) returns void language plpgsql as $f$
begin raise info '{"order": %, "total": %}', number, total; end $f$;
comment on function shop.placed is '@sse
@sse_event placed
@sse_topic orders';
create function shop.shipped(number int) returns void language plpgsql as $f$
begin raise info '{"order": %, "carrier": "by bicycle"}', number; end $f$;
comment on function shop.shipped is '@sse
@sse_event shipped
@sse_topic orders
@authorize';
create function shop.refunded(number int) returns void language plpgsql as $f$ begin raise info '%', number; end $f$;
comment on function shop.refunded is '@sse
@authorise staff';
create function shop.stock(id int) returns int language sql as 'select 42';
comment on function shop.stock is 'HTTP GET
@anonymous';
create function shop.reserve(id int, amount int) returns int language plpgsql as $f$
begin
  if amount > 9 then raise 'only 9 are left' using errcode = 'P0001'; end if;
  perform pg_sleep(amount / 200.0);
  return id;
end $f$;
comment on function shop.reserve is 'HTTP POST
@anonymous';
grant usage on schema shop to app;
`;

/** Who comes, one after the other; who has no name is anonymous. */
const PEOPLE = ["", "ann", "bob", "", "carla", "dieter", "eva", "", "fritz", "greta", "hugo", "ida", "", "jan", "kira", "leo", "mia", "nils"];

const PATHS = ["/api/shop/placed/info", "/api/shop/shipped/info?topic=shop.item"];

async function listens(path, token) {
  const response = await fetch(PUBLIC + path, { headers: token ? { Authorization: `Bearer ${token}` } : {} });
  const read = async () => {
    for await (const piece of response.body) piece.length;
  };
  read().catch(() => {});
}

export default async function scene(browser, url) {
  await sql(SETUP);
  const page = await (await browser.person()).open(`${url}/#token=${encodeURIComponent(process.env.PG_SSE_TOKEN)}`);
  await page.says("#endpoints tbody", "@authorise");
  const end = Date.now() + SECONDS * 1000;
  for (let round = 0, come = 0; Date.now() < end; round++) {
    const name = PEOPLE[come];
    // The first six at once.
    if (name !== undefined && (come < 6 || round % 20 === 0)) {
      const token = name && (await sql(`select sse.issue_token('${come}', '${name}', array[]::text[], '1h')`));
      // What is shipped is for those alone who are somebody.
      await listens(PATHS[name && come % 3 === 2 ? 1 : 0], token);
      come++;
    }
    const busy = 3 + Math.round(2 * Math.sin(round / 9));
    await sql(`select shop.placed(${4000 + round * 5} + n, 17.5 * (1 + (n * 7 + ${round}) % 9)) from generate_series(1, ${busy}) n`);
    await sql(`update shop.item set count = count + 1 where id = ${1 + round % 40}`);
    if (round % 3 === 0) await sql(`select shop.shipped(${3990 + round * 5})`);
    await fetch(`${PUBLIC}/api/shop/stock?id=${round}`);
    const amount = round % 7 ? round % 5 : 12;
    await fetch(`${PUBLIC}/api/shop/reserve`, {
      method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ id: round, amount }),
    });
    await new Promise(resolve => setTimeout(resolve, 250));
  }
  return page;
}
