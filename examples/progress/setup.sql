-- An import that takes long: it commits as it goes, tells how far it is, can be cancelled, and goes on where it stopped.
--
--     psql -d DATABASE -f setup.sql        as a superuser, in the database that is served

\set ON_ERROR_STOP on

-- The role that calls run as: sse.call_role. The procedure runs with its rights, because one with other rights
-- (SECURITY DEFINER) could not commit.
select 'create role app login' where not exists (select from pg_roles where rolname = 'app') \gexec

create schema progress;
grant usage on schema progress to app;

-- Two price lists, as they were uploaded. Line 2713 of the second one is no price.
create table progress.line (
  file   text,
  number int,
  sku    text not null,
  price  text not null,
  primary key (file, number)
);
insert into progress.line
  select file, number, 'P-' || lpad(number::text, 4, '0'),
         case when file = 'autumn.csv' and number = 2713 then 'n/a' else to_char(5 + number % 90 + 0.95, 'FM990.00') end
    from unnest(array['spring.csv', 'autumn.csv']) file, generate_series(1, 4000) number;

-- What is imported.
create table progress.price (sku text primary key, price numeric(8, 2) not null);

-- Who may import: those who have a badge. Of its code only a digest is kept, which is enough for a code that nobody can
-- guess: one of yours has 128 random bits. For passwords, see the chat.
create table progress.badge (digest bytea primary key, name text not null);
insert into progress.badge values (sha256('ada-1815'), 'Ada'), (sha256('ben-1984'), 'Ben');

create function progress.log_in(_code text) returns table (user_id text, user_name text)
security definer set search_path = pg_catalog
begin atomic
  select name, name from progress.badge where digest = sha256(convert_to(_code, 'UTF8'));
end;
comment on function progress.log_in is '
HTTP POST
@login';

create function progress.log_out() returns void language sql as '';
comment on function progress.log_out() is '
HTTP POST
@logout
@anonymous';

-- Who this browser is, for a page that opens: a name, or nobody.
create function progress.who_am_i(_user_name text default null) returns text stable return _user_name;
comment on function progress.who_am_i is '
HTTP GET
@user_parameters
@anonymous';

-- How far each import has come. Whoever knows the id of one may see it and cancel it: 128 random bits.
create table progress.job (
  id           text primary key,
  file         text not null,
  total        int not null,
  done         int not null,
  is_cancelled boolean not null default false,
  problem      text
);

-- Imports the lines of a file behind line _after, forty at a time.
create procedure progress.import_prices(_file text, _after int, out lines int, out is_cancelled boolean)
language plpgsql as $$
declare
  -- The gateway makes it for a call that goes on without its caller; it is the id in the URL of the job's stream.
  _id    constant text := current_setting('sse.execution_id');
  _total constant int := (select count(*) from progress.line where file = _file);
  _began constant timestamptz := clock_timestamp();
  _wrong progress.line;
  _last  int;
  _problem text;
begin
  if _total = 0 then
    raise exception 'There is no file %.', _file using errcode = 'PT404';
  end if;
  -- Says that this import is running. It is kept over commits, and given back however the call ends.
  perform pg_advisory_lock(42, hashtext(_id));
  insert into progress.job (id, file, total, done) values (_id, _file, _total, _after);
  lines := _after;
  loop
    -- Sent by the commit: what a page shows as done is done.
    raise info '%', json_build_object('done', lines, 'total', _total, 'after', _after,
                                      'seconds', extract(epoch from clock_timestamp() - _began));
    commit;
    exit when lines >= _total or is_cancelled;
    if _problem is not null then
      raise exception '%', _problem;      -- the page gets this text
    end if;

    perform pg_sleep(0.12);               -- work of your own takes its time without this line
    _last := least(lines + 40, _total);
    select * into _wrong from progress.line
      where file = _file and number > lines and number <= _last and price !~ '^\d+\.\d\d$' order by number limit 1;
    if found then
      _last := _wrong.number - 1;
      _problem := format('Line %s: "%s" is not a price.', _wrong.number, _wrong.price);
    end if;
    insert into progress.price
      select sku, price::numeric from progress.line where file = _file and number > lines and number <= _last
      on conflict (sku) do update set price = excluded.price;
    lines := _last;
    update progress.job set done = lines, problem = _problem where id = _id returning job.is_cancelled into is_cancelled;
  end loop;
end $$;
comment on procedure progress.import_prices is '
HTTP POST
@sse
@sse_scope caller
@authorize';

-- How far an import has come, for a page that has missed something: it was closed for long, or the server was restarted.
create function progress.import_state(_id text)
returns table (file text, total int, done int, state text, problem text) stable
begin atomic
  select job.file, job.total, job.done,
         case when job.problem is not null then 'failed'
              when job.done >= job.total then 'done'
              when exists (select from pg_locks where locktype = 'advisory' and classid = 42
                                                  and objid = hashtext(_id)::oid) then 'running'
              when job.is_cancelled then 'cancelled'
              else 'interrupted' end,
         job.problem
    from progress.job where job.id = _id;
end;
comment on function progress.import_state is 'HTTP GET';

-- Asks an import to stop, whoever has begun it. It does so after the lines that it is at.
create function progress.cancel_import(_id text) returns void
begin atomic
  update progress.job set is_cancelled = true where id = _id;
end;
comment on function progress.cancel_import is '
HTTP POST
@authorize';

grant select on progress.line to app;
grant select, insert, update on progress.price, progress.job to app;
