-- The feed.
--
--     psql -d DATABASE -f setup.sql        as a superuser, in the database that is served

\set ON_ERROR_STOP on

-- The role that calls run as: sse.call_role. It owns nothing, and has the privileges that are granted here.
select 'create role app login' where not exists (select from pg_roles where rolname = 'app') \gexec

create schema feed;
grant usage on schema feed to app;

create table feed.post (
  id         bigint generated always as identity primary key,
  title      varchar(128) not null check (title ~ '\S'),
  created_at timestamptz not null default now()
);
grant select, insert on feed.post to app;

-- The last posts, for pages that open. As jsonb, so that its keys are those of to_json below.
create function feed.recent() returns jsonb return (
  select coalesce(jsonb_agg(post order by id), '[]') from (select * from feed.post order by id desc limit 50) post
);

-- Each new post, for pages that are open.
create function feed.added() returns trigger language plpgsql as $$
begin
  raise info '%', to_json(new);
  return null;
end $$;
create trigger added after insert on feed.post for each row execute function feed.added();
comment on function feed.added() is 'The last posts, and every new one.

@sse
@sse_topic feed.post
@sse_snapshot feed.recent as recent';

-- The form.
create function feed.add(_title text) returns void
begin atomic
  insert into feed.post (title) values (_title);
end;
comment on function feed.add(text) is 'Adds a post.

HTTP POST';
