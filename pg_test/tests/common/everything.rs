//! A schema with each kind of type, call and stream, for what is made for those who write clients.
//!
//! Not for what is made of it.

use anyhow::Result;
use cluster::Cluster;

use super::calls::{ROLE, builder, ready, start};

/// Everything that a client can have to do with.
pub(crate) const SCHEMA: &str = "
    create type mood as enum ('so-so', '\"fine\"', 'it''s');
    create domain e_mail as text not null;
    create domain amount as numeric;
    create type place as (street_name text, big bigint, mood mood);
    create table visits (page text primary key, n amount, mood mood not null default 'so-so', places place[],
                         n_ int, \"__proto__\" text, \"it's\" text, at timestamptz not null default '2026-01-02 03:04:05+00');
    insert into visits (page, n, places, n_) values ('/', 1.50, array[row('Main', 9007199254740993, 'it''s')::place], 2);
    create function get_visits(_page e_mail default '/', _place place default null, _filter jsonb default '{}',
                               _each jsonb[] default '{}', _tags text[] default '{}')
        returns setof visits language sql stable as 'select * from visits where page = _page';
    comment on function get_visits is 'The visits of a page. */ evil() /*\n\nHTTP GET';
    create function echo(a int, b bigint default 7, c text default null, d float8 default 1, e place default null,
                         f jsonb default null, g text[] default null, h bytea default null, \"to_string\" text default null)
        returns table (a_ int, b_ bigint, c_ text, d_ float8, e_ place, f_ jsonb, g_ text[], h_ bytea)
        language sql as 'select a, b, c, d, e, f, g, h';
    comment on function echo is 'HTTP POST';
    create function echo_query(f jsonb, each jsonb[], tags text[], e place) returns jsonb language sql stable
        as 'select jsonb_build_object(''f'', f, ''each'', to_jsonb(each), ''tags'', to_jsonb(tags), ''e'', to_jsonb(e))';
    comment on function echo_query is 'HTTP GET';
    create function scalars_int() returns bigint language sql stable as 'select 42';
    comment on function scalars_int() is 'HTTP GET';
    create function is_open() returns boolean language sql stable as 'select false';
    comment on function is_open() is 'HTTP GET';
    create function nothing() returns text language sql stable as 'select null::text';
    comment on function nothing() is 'HTTP GET';
    create function fail(why text) returns void language plpgsql as $$ begin raise exception using message = why, errcode = 'PT404'; end $$;
    comment on function fail(text) is 'HTTP POST';
    create procedure \"delete\"(inout x int) language plpgsql as $$ begin x := x + 1; end $$;
    comment on procedure \"delete\"(int) is 'HTTP POST';
    create function say(message text, _user_id text default 'nobody') returns void language plpgsql
        as $$ begin raise info '%', message; end $$;
    comment on function say(text, text) is 'Says something.\n\nHTTP POST\n@sse\n@user_parameters';
    create function said_named(message text) returns int language plpgsql
        as $$ begin raise info '%', message; return 5; end $$;
    comment on function said_named(text) is 'HTTP POST\n@sse\n@sse_event said';
    create procedure make_report(_pages int, inout done int default 0) language plpgsql as $$
        begin
            for page in 1 .. _pages loop raise info '% of %', page, _pages; commit; end loop;
            if _pages > 5 then raise exception 'too long'; end if;
            done := _pages;
        end $$;
    comment on procedure make_report(int, int) is 'HTTP POST\n@sse\n@sse_delivery immediate\n@sse_scope caller';
    create function state() returns setof visits language sql stable as 'select * from visits';
    create function live() returns void language sql as '';
    comment on function live() is '@sse_subscribe\n@sse_snapshot state as state';
    create function \"a\nb*/\"() returns void language sql as '';
    comment on function \"a\nb*/\"() is 'HTTP POST /odd';
    create function U&\"\\1C89x\"() returns void language sql as '';
    comment on function U&\"\\1C89x\"() is 'HTTP POST /newest';
    create function U&\"\\019Bx\"() returns void language sql as '';
    comment on function U&\"\\019Bx\"() is 'HTTP POST /newest-capital';
    create function twice(out int, out column1 int) language sql as 'select 1, 2';
    comment on function twice() is 'HTTP POST';
    create function given_twice(int, \"$1\" int default 2) returns int language sql as 'select 1';
    comment on function given_twice(int, int) is 'HTTP POST';
    create function secret() returns text language sql as 'select ''x''';
    comment on function secret() is 'HTTP GET';
    revoke execute on function secret() from public;
";

/// A cluster with that schema, in `public`.
pub(crate) fn with_everything() -> Result<Cluster> {
    let cluster = start(builder())?;
    // `\\n` is a line end in the comments above.
    let schema = SCHEMA.replace("\\n", "\n");
    cluster.sql(&format!(
        "grant select on all tables in schema public to {ROLE}; {schema} grant select on visits to {ROLE}"
    ))?;
    ready(&cluster)?;
    Ok(cluster)
}
