-- What the page of the demo and the proxy in front of it ask of each server, beside the counter's own routines.

-- The proxy's question; docs/servers.md has it, too.
create function place_in_tree() returns text language sql stable
    as $$ select case when pg_is_in_recovery() then 'standby' else 'primary' end $$;
comment on function place_in_tree() is 'HTTP GET
@anonymous';

-- Whether a window's stream comes from this server: each window asks for a topic of its own.
create function serves(window_id text) returns boolean language sql stable security definer set search_path = ''
    as $$ select exists (select from sse.subscribers where window_id = any (topics)) $$;
comment on function serves(text) is 'HTTP GET
@anonymous';
