-- The chat: chat.sql, more.sql, and everything around them.
--
--     psql -d DATABASE -f setup.sql        as a superuser, in the database that is served
--
-- chat.sql is the SQL of NpgsqlRest's tutorial "Build a Real-Time Chat App with PostgreSQL and Server-Sent Events",
-- unchanged; more.sql is what its guides show besides. This file has what both need: a schema, crypt(), a logout, a role and
-- its privileges.

\set ON_ERROR_STOP on

-- The role that calls run as: sse.call_role. It has no password, owns nothing, and has only the privileges that are granted
-- here. It cannot read the passwords: login() runs with the rights of its owner.
select 'create role chat login' where not exists (select from pg_roles where rolname = 'chat') \gexec
alter role chat set search_path = example_8;

create schema example_8;
grant usage on schema example_8 to chat;
-- crypt() and gen_salt(): passwords are kept as bcrypt hashes.
create extension pgcrypto schema example_8;
set search_path = example_8, public;

\ir chat.sql
\ir more.sql

-- Ends the caller's session. A call without a session is no error.
create function example_8.logout() returns void language sql as '';
comment on function example_8.logout() is '
HTTP POST
@logout
@anonymous';

grant select, insert on example_8.messages, example_8.private_messages to chat;
