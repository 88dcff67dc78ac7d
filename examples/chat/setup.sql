-- The chat: everything around chat.sql, and chat.sql itself.
--
--     psql -d DATABASE -f setup.sql        as a superuser, in the database that is served
--
-- chat.sql is the SQL of NpgsqlRest's tutorial "Build a Real-Time Chat App with PostgreSQL and Server-Sent Events", as it
-- stands. Here is what it takes for granted: its schema, crypt(), a logout, and who may do what.

\set ON_ERROR_STOP on

-- As whom calls run: sse.call_role. It has a name and no password, owns nothing, and may do what is granted here, no more. It
-- cannot read the passwords: login() runs with the rights of its owner.
create role chat login;
alter role chat set search_path = example_8;

create schema example_8;
grant usage on schema example_8 to chat;
-- crypt() and gen_salt(): passwords are kept as bcrypt hashes.
create extension pgcrypto schema example_8;
set search_path = example_8, public;

\ir chat.sql

-- Ends the session. Whoever calls it is signed out; whether there was a session is not asked.
create function example_8.logout() returns void language sql as '';
comment on function example_8.logout() is '
HTTP POST
@logout
@anonymous';

grant select, insert on example_8.messages to chat;
