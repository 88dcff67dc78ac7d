-- The newsletter.
--
--     psql -d DATABASE -f setup.sql        as a superuser, in the database that is served

\set ON_ERROR_STOP on

-- The role that calls run as: sse.call_role. It owns nothing, and has the privileges that are granted here.
select 'create role app login' where not exists (select from pg_roles where rolname = 'app') \gexec

create schema newsletter;
grant usage on schema newsletter to app;

create table newsletter.newsletters (
  id         int generated always as identity primary key,
  title      text not null check (title ~ '\S'),
  content    text not null,
  created_at timestamptz not null default now()
);
grant select, insert, update, delete on newsletter.newsletters to app;

insert into newsletter.newsletters (title, content) values
  ('Welcome', 'This page shows the rows of a table. Change one, here or in psql, and every open page has the change.');

-- Each change, for pages that are open.
create trigger tells after insert or update or delete on newsletter.newsletters
  for each row execute function sse.publish_change('all');

-- All rows, for pages that open. As jsonb, so that its keys are the columns' names, as in the changes.
create function newsletter.all_rows() returns jsonb return (
  select coalesce(jsonb_agg(n order by id), '[]') from newsletter.newsletters n
);

-- The stream: it begins with all rows, and asks for the changes of the table.
create function newsletter.live() returns void language sql as '';
comment on function newsletter.live() is 'The newsletters, and every change of them.

@sse_subscribe
@sse_topic newsletter.newsletters
@sse_snapshot newsletter.all_rows as rows';

create function newsletter.publish(_title text, _content text) returns void
begin atomic
  insert into newsletter.newsletters (title, content) values (_title, _content);
end;
comment on function newsletter.publish(text, text) is 'HTTP POST';

create function newsletter.edit(_id int, _title text, _content text) returns void
begin atomic
  update newsletter.newsletters set title = _title, content = _content where id = _id;
end;
comment on function newsletter.edit(int, text, text) is 'HTTP PUT';

create function newsletter.remove(_id int) returns void
begin atomic
  delete from newsletter.newsletters where id = _id;
end;
comment on function newsletter.remove(int) is 'HTTP DELETE';
