-- Parcels in a depot: a table whose every change is seen by every page that is open.
--
--     psql -d DATABASE -f setup.sql        as a superuser, in the database that is served

\set ON_ERROR_STOP on

-- The role that calls run as: sse.call_role.
select 'create role app login' where not exists (select from pg_roles where rolname = 'app') \gexec

create schema depot;
grant usage on schema depot to app;

-- Who works here: those who have a badge. Of its code only a digest is kept, which is enough for a code that nobody can
-- guess: one of yours has 128 random bits. For passwords, see the chat.
create table depot.badge (digest bytea primary key, name text not null);
insert into depot.badge values (sha256('ada-1815'), 'Ada'), (sha256('ben-1984'), 'Ben');

create function depot.log_in(_code text) returns table (user_id text, user_name text)
security definer set search_path = pg_catalog
begin atomic
  select name, name from depot.badge where digest = sha256(convert_to(_code, 'UTF8'));
end;
comment on function depot.log_in is 'Lets somebody in who has a badge.

HTTP POST
@login';

create function depot.log_out() returns void language sql as '';
comment on function depot.log_out() is 'Ends the session of this browser.

HTTP POST
@logout
@anonymous';

create function depot.who_am_i(_user_name text default null) returns text stable return _user_name;
comment on function depot.who_am_i is 'The name of who has logged in, or nobody.

HTTP GET
@user_parameters
@anonymous';

create type depot.step as enum ('arrived', 'sorted', 'loaded', 'delivered');

create table depot.parcel (
  id           int generated always as identity primary key,
  destination  text not null check (destination <> '' and length(destination) <= 40),
  weight_kg    numeric(5, 1) not null check (weight_kg between 0.1 and 100),
  step         depot.step not null default 'arrived',
  arrived_at   timestamptz not null default now(),
  delivered_at timestamptz
);
comment on table depot.parcel is 'A parcel on its way through the depot.';

-- Each change, for pages that are open.
create trigger tells after insert or update or delete on depot.parcel
  for each row execute function sse.publish_change('all');

-- The parcels of the last hour, and those that are still here, for pages that open.
create function depot.parcels_now() returns setof depot.parcel stable
begin atomic
  select * from depot.parcel where step <> 'delivered' or delivered_at > now() - interval '1 hour' order by id;
end;

-- The stream: it asks for the table's changes, and begins with the parcels.
create function depot.parcels() returns void language sql as '';
comment on function depot.parcels() is 'The parcels of the last hour, and each change of them.

@sse
@sse_topic depot.parcel
@sse_snapshot parcels_now as parcels';

-- A stand-in for the scanner at the door.
create function depot.some_city() returns text
return (array['Graz', 'Lyon', 'Porto', 'Ghent', 'Turku', 'Split', 'Brno', 'Malmö', 'Kraków', 'Bilbao'])[1 + floor(random() * 10)::int];

create function depot.receive(_destination text, _weight_kg numeric) returns depot.parcel
begin atomic
  insert into depot.parcel (destination, weight_kg) values (_destination, _weight_kg) returning *;
end;
comment on function depot.receive is 'Takes a parcel in.

HTTP POST
@authorize';

create function depot.move_on(_id int, _from depot.step) returns depot.parcel language plpgsql as $$
declare
  _steps constant depot.step[] := enum_range(_from, null);
  _moved depot.parcel;
begin
  update depot.parcel set step = _steps[2], delivered_at = case when _steps[2] = 'delivered' then now() end
    where id = _id and step = _from and _from <> 'delivered'
    returning * into _moved;
  if not found then
    raise exception 'Somebody else has moved parcel % already.', _id using errcode = 'PT409';
  end if;
  return _moved;
end $$;
comment on function depot.move_on is 'Moves a parcel on by one step, unless somebody else was faster.

HTTP POST
@authorize';

-- How many look on. The view is not for everybody (it has addresses), the number is. Nothing is published when it changes.
create function depot.viewers() returns int
security definer set search_path = pg_catalog
begin atomic
  select count(*)::int from sse.subscribers where url = '/api/depot/parcels/info';
end;
comment on function depot.viewers() is 'How many browsers look at the parcels.

HTTP GET';

-- Half a minute of a busy morning.
create procedure depot.rush() language plpgsql as $$
declare
  _parcel depot.parcel;
begin
  if not pg_try_advisory_lock(42, 0) then
    raise exception 'It is busy already.' using errcode = 'PT409';
  end if;
  for _turn in 1 .. 100 loop
    if _turn % 3 = 0 then
      perform depot.receive(depot.some_city(), (1 + random() * 29)::numeric(5, 1));
    else
      select * into _parcel from depot.parcel where step <> 'delivered' order by random() limit 1 for update skip locked;
      if found then
        perform depot.move_on(_parcel.id, _parcel.step);
      end if;
    end if;
    commit;
    perform pg_sleep(0.3);
  end loop;
end $$;
comment on procedure depot.rush() is 'Half a minute of a busy morning, for whoever wants to see something move.

HTTP POST
@sse_subscribe
@authorize';

grant select, insert, update on depot.parcel to app;

-- What has happened in the half hour before.
insert into depot.parcel (destination, weight_kg, step, arrived_at, delivered_at)
  select depot.some_city(), (1 + random() * 29)::numeric(5, 1),
         case when age > interval '12 min' then 'delivered' when age > interval '8 min' then 'loaded'
              when age > interval '4 min' then 'sorted' else 'arrived' end::depot.step,
         now() - age,
         case when age > interval '12 min' then now() - age + (2 + random() * 10) * interval '1 min' end
    from (select random() * interval '30 min' as age from generate_series(1, 70)) as past
    order by age desc;
