-- The counter.
--
--     psql -d DATABASE -f setup.sql        as a superuser, in the database that is served

\set ON_ERROR_STOP on

-- The role that calls run as: sse.call_role. It owns nothing, and has the privileges that are granted here.
select 'create role app login' where not exists (select from pg_roles where rolname = 'app') \gexec

create schema counter;
grant usage on schema counter to app;

create table counter.counter (n bigint not null);
insert into counter.counter values (0);
grant select, update on counter.counter to app;

-- The value, for pages that open.
create function counter.value() returns bigint return (select n from counter.counter);

-- Each change, for pages that are open: whoever makes it, a call or psql.
create function counter.changed() returns trigger language plpgsql as $$
begin
  raise info '%', new.n;
  return null;
end $$;
create trigger changed after update on counter.counter for each row execute function counter.changed();
comment on function counter.changed() is 'The value, and every change of it.

@sse
@sse_topic counter.counter
@sse_snapshot counter.value';

-- The button.
create function counter.increment() returns void
begin atomic
  update counter.counter set n = n + 1;
end;
comment on function counter.increment() is 'Counts up by one.

HTTP POST';
