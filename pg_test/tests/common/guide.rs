//! SQL of NpgsqlRest's guides, word for word: a tutorial that builds a chat, and the guide to Server-Sent
//! Events.
//!
//! Not for what is only mentioned in them: that is in the tests.

/// The tutorial's SQL. Before it: the schema and the extension that it takes for granted.
pub(crate) const TUTORIAL: [&str; 2] =
    ["create extension pgcrypto; create schema example_8;", include_str!("../../../examples/chat/chat.sql")];

/// The guide's SQL; its `users` are left to the reader.
pub(crate) const GUIDE: [&str; 5] = [
    "create table messages (
message_id int primary key generated always as identity,
user_id int not null,
username text not null,
message_text text not null,
created_at timestamptz not null default now()
);",
    "create procedure send_message(
_message_text text,
_user_id text = null,
_user_name text = null
)
language plpgsql
as $$
declare
_message_id int;
_created_at timestamptz;
begin
insert into messages (user_id, username, message_text)
values (_user_id::int, _user_name, _message_text)
returning message_id, created_at into _message_id, _created_at;
-- broadcast the new message to all connected, authorized clients
raise info '%', json_build_object(
'message_id', _message_id,
'user_id', _user_id::int,
'username', _user_name,
'message_text', _message_text,
'created_at', _created_at
);
end;
$$;
comment on procedure send_message(text, text, text) is '
HTTP POST
@authorize
@user_parameters
@sse
@sse_scope authorize';",
    "create function get_messages()
returns setof messages
language sql as $$
select * from messages order by created_at asc;
$$;
comment on function get_messages() is '
HTTP GET
@authorize';",
    "-- subscribe-only: clients connect here, body never executes
create procedure user_events_subscribe()
language plpgsql as $$ begin perform 1; end; $$;
comment on procedure user_events_subscribe() is '
HTTP GET
@authorize
@sse
@sse_scope authorize';",
    "-- emitter: a privileged action that notifies the affected user
create procedure update_user_roles(_target_user_id int, _roles text[])
language plpgsql as $$
begin
-- ... perform the role update ...
raise info 'roles updated'
using hint = format('authorize %s', _target_user_id);
end;
$$;
comment on procedure update_user_roles(int, text[]) is '
HTTP POST
@authorize manager
@sse
@sse_scope authorize';",
];
