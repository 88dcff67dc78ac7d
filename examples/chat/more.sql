-- What NpgsqlRest's guides show beyond the first chat. chat.sql is as it was.

-- Channels. A call's execution id is one: its events reach the streams that have the same. With this column, the history
-- knows it, too.
alter table example_8.messages add channel text default nullif(current_setting('sse.execution_id', true), '');

create function example_8.get_channel(_channel text)
returns table (message_id int, username text, message_text text, created_at timestamptz)
language sql stable
as $$
select message_id, username, message_text, created_at
from example_8.messages
where channel = _channel or channel is null
order by message_id;
$$;
comment on function example_8.get_channel(text) is '
HTTP GET
@authorize';

-- A message for one user: the hint says who gets this event, in place of @authorize.
create table example_8.private_messages (
message_id int primary key generated always as identity,
sender text not null,
receiver text not null references example_8.users (username),
message_text text not null,
created_at timestamptz not null default now()
);

create procedure example_8.send_private(_to text, _message_text text, _user_name text = null)
language plpgsql
as $$
declare
_sent example_8.private_messages;
begin
insert into example_8.private_messages (sender, receiver, message_text)
values (_user_name, _to, _message_text)
returning * into _sent;
raise info '%', to_json(_sent) using hint = sse.authorize('name:' || _to, 'name:' || _user_name);
end;
$$;
comment on procedure example_8.send_private(text, text, text) is '
HTTP POST
@authorize
@sse_publish
@sse_event private';

create function example_8.get_private(_user_name text = null)
returns setof example_8.private_messages
language sql stable
as $$
select * from example_8.private_messages where _user_name in (sender, receiver) order by message_id;
$$;
comment on function example_8.get_private(text) is '
HTTP GET
@authorize';

-- An alert for admins: for users with this role, wherever they are in the chat.
create procedure example_8.report(_message_id int, _user_name text = null)
language plpgsql
as $$
declare
_message example_8.messages;
begin
select * into _message from example_8.messages where message_id = _message_id;
if not found then
raise exception 'there is no message %', _message_id;
end if;
raise info '%', json_build_object(
'message_id', _message_id,
'username', _message.username,
'message_text', _message.message_text,
'reported_by', _user_name
) using hint = 'authorize role:admin';
end;
$$;
comment on procedure example_8.report(int, text) is '
HTTP POST
@authorize
@sse_publish
@sse_event report';

-- Roles are what a login returns as user_roles. This one replaces that of the tutorial, which has none.
alter table example_8.users add user_roles text[] not null default '{}';
insert into example_8.users (username, password_hash, user_roles) values
('carol', crypt('password789', gen_salt('bf')), '{admin}');

drop function example_8.login(text, text);
create function example_8.login(_username text, _password text)
returns table (scheme text, user_id int, user_name text, user_roles text[])
language sql
security definer
set search_path = example_8, pg_temp
as $$
select 'cookies', u.user_id, u.username, u.user_roles
from example_8.users u
where u.username = _username
and u.password_hash = crypt(_password, u.password_hash);
$$;
comment on function example_8.login(text, text) is '
HTTP POST
@login
@anonymous';

-- To whom one can write.
create function example_8.get_people()
returns table (username text)
language sql stable
security definer
set search_path = example_8, pg_temp
as $$
select username from example_8.users order by username;
$$;
comment on function example_8.get_people() is '
HTTP GET
@authorize';

-- Whom the cookie is of, which a script cannot read: NULL for nobody.
create function example_8.who_am_i(_user_name text = null) returns text
language sql stable
as 'select _user_name';
comment on function example_8.who_am_i(text) is '
HTTP GET
@anonymous';
