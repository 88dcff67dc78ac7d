-- Objects of the extension pg_sse, version 0.2.0.
\echo Use "CREATE EXTENSION pg_sse" to load this file. \quit

-- Everything below is in schema sse, which the extension owns. Nobody may create in it.
REVOKE ALL ON SCHEMA sse FROM PUBLIC;
GRANT USAGE ON SCHEMA sse TO PUBLIC;

-- First of all: is the library there, preloaded, and of this version?
CREATE FUNCTION sse._check_installation(script_version text) RETURNS void
    LANGUAGE c STRICT AS 'MODULE_PATHNAME', 'check_installation_wrapper';
REVOKE ALL ON FUNCTION sse._check_installation(text) FROM PUBLIC;
SELECT sse._check_installation('0.2.0');

-- Publishing ---------------------------------------------------------------------------------------------------------

CREATE FUNCTION sse.publish(
    data text,
    scope text DEFAULT 'all',
    event text DEFAULT NULL,
    topic text DEFAULT NULL,
    execution_id text DEFAULT NULL,
    delivery text DEFAULT NULL
) RETURNS void
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'publish_wrapper';
REVOKE ALL ON FUNCTION sse.publish(text, text, text, text, text, text) FROM PUBLIC;
COMMENT ON FUNCTION sse.publish(text, text, text, text, text, text) IS
    'Publishes one event. delivery: commit or immediate; null takes sse.default_delivery.';

CREATE FUNCTION sse.authorize(VARIADIC "values" text[]) RETURNS text
    LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'authorize_wrapper';
COMMENT ON FUNCTION sse.authorize(text[]) IS
    'Hint for RAISE … USING HINT that lets only the given users and roles receive the event. Nulls are left out; none left means nobody.';

CREATE FUNCTION sse.issue_token(
    user_id text,
    user_name text DEFAULT NULL,
    roles text[] DEFAULT NULL,
    lifetime interval DEFAULT NULL
) RETURNS text
    LANGUAGE c VOLATILE PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'issue_token_wrapper';
REVOKE ALL ON FUNCTION sse.issue_token(text, text, text[], interval) FROM PUBLIC;
COMMENT ON FUNCTION sse.issue_token(text, text, text[], interval) IS
    'A token for a subscriber, signed with the secret of the settings. lifetime: null takes sse.session_lifetime.';

CREATE FUNCTION sse.disconnect(user_id text) RETURNS void
    LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'disconnect_wrapper';
REVOKE ALL ON FUNCTION sse.disconnect(text) FROM PUBLIC;
COMMENT ON FUNCTION sse.disconnect(text) IS
    'Ends the streams of a user, and refuses tokens that were issued to that user before now. At once, also in a transaction that rolls back.';

-- Annotations --------------------------------------------------------------------------------------------------------

CREATE FUNCTION sse.check(routine regprocedure) RETURNS SETOF text
    LANGUAGE c STABLE STRICT PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'check_routine_wrapper';
COMMENT ON FUNCTION sse.check(regprocedure) IS 'The mistakes in the comment of a routine, one a row.';

CREATE FUNCTION sse.check(comment text) RETURNS SETOF text
    LANGUAGE c STABLE STRICT PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'check_text_wrapper';
COMMENT ON FUNCTION sse.check(text) IS 'The mistakes in a text that is meant to become the comment of a routine, one a row.';

CREATE FUNCTION sse.url(routine regprocedure) RETURNS text
    LANGUAGE c STABLE STRICT PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'url_wrapper';
COMMENT ON FUNCTION sse.url(regprocedure) IS 'Path of the stream of a routine; without a stream the path that it is called with; or null.';

CREATE FUNCTION sse._endpoints(
    OUT routine oid, OUT kind text, OUT method text, OUT url text, OUT level text,
    OUT scope text, OUT topic text, OUT delivery text, OUT problem text
) RETURNS SETOF record
    LANGUAGE c STABLE PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'endpoints_wrapper';

CREATE VIEW sse.endpoints AS
    SELECT routine::regprocedure AS routine, kind, method, url, level, scope, topic, delivery, problem
      FROM sse._endpoints();
GRANT SELECT ON sse.endpoints TO PUBLIC;
COMMENT ON VIEW sse.endpoints IS 'Every annotated routine: what it publishes, its URL, how it is called, and what is wrong with it.';

-- Statistics ---------------------------------------------------------------------------------------------------------

CREATE FUNCTION sse._stat_ring() RETURNS bigint[]
    LANGUAGE c VOLATILE PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'stat_ring_wrapper';
CREATE FUNCTION sse._stat_gateway() RETURNS bigint[]
    LANGUAGE c VOLATILE PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'stat_gateway_wrapper';
CREATE FUNCTION sse._gateway_state() RETURNS text
    LANGUAGE c VOLATILE PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'gateway_state_wrapper';
CREATE FUNCTION sse._gateway_started_at() RETURNS timestamptz
    LANGUAGE c VOLATILE PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'gateway_started_at_wrapper';
CREATE FUNCTION sse._stat_calls() RETURNS bigint[]
    LANGUAGE c VOLATILE PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'stat_calls_wrapper';
CREATE FUNCTION sse._call_state() RETURNS text
    LANGUAGE c VOLATILE PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'call_state_wrapper';
CREATE FUNCTION sse._stats_reset() RETURNS timestamptz
    LANGUAGE c VOLATILE PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'stats_reset_wrapper';
REVOKE ALL ON FUNCTION sse._stat_ring(), sse._stat_gateway(), sse._gateway_state(), sse._gateway_started_at(),
    sse._stats_reset(), sse._stat_calls(), sse._call_state() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION sse._stat_ring(), sse._stat_gateway(), sse._gateway_state(), sse._gateway_started_at(),
    sse._stats_reset(), sse._stat_calls(), sse._call_state() TO pg_monitor;

-- Further columns of these views go to the end: the upgrade script replaces them, and views of others may rest on them.
CREATE VIEW sse.stat_ring AS
    SELECT s[1] AS capacity_bytes, s[2] AS used_bytes, s[3] AS records_total, s[4] AS bytes_total,
           s[5] AS full_total, s[6] AS dropped_total, s[7] AS too_large_total, s[8] AS parallel_total,
           s[9] AS misspelt_hint_total, s[10] AS unmatched_total, s[11] AS out_of_memory_total,
           s[12] AS internal_total, s[13] AS replaced_characters_total, s[14] AS order_given_up_total,
           sse._stats_reset() AS stats_reset, s[15] AS stalls_total
      FROM sse._stat_ring() AS s;
REVOKE ALL ON sse.stat_ring FROM PUBLIC;
GRANT SELECT ON sse.stat_ring TO pg_monitor;
COMMENT ON VIEW sse.stat_ring IS 'The ring between backends and gateway, and what could not be published, since server start.';

CREATE VIEW sse.stat_gateway AS
    SELECT sse._gateway_state() AS state, nullif(s[27], 0)::int AS port, nullif(s[28], 0)::int AS pid,
           sse._gateway_started_at() AS started_at,
           CASE WHEN s[28] <> 0 THEN clock_timestamp() - sse._gateway_started_at() END AS uptime,
           s[1] AS connections, s[2] AS subscribers, s[3] AS connections_total, s[4] AS subscribers_total,
           s[5] AS refused_total, s[6] AS events_total, s[7] AS undeliverable_total, s[8] AS undecodable_total,
           s[9] AS deliveries_total, s[10] AS bytes_total, s[11] AS gaps_total, s[12] AS write_timeouts_total,
           s[13] AS junk_total, s[14] AS window_bytes, s[15] AS window_events, s[16] AS requests_dropped_total,
           s[17] AS anonymous_subscribers, s[18] AS refused_addresses_total, s[19] AS refused_tokens_total,
           s[20] AS asked_total, s[21] AS woken_total,
           sse._call_state() AS calls, c[1]::int AS call_workers, c[2]::int AS calls_running, s[22] AS calls_waiting,
           s[23] AS calls_total, s[24] AS calls_failed_total, s[25] AS calls_refused_total,
           s[26] AS calls_cancelled_total, c[3] AS calls_lost_total, c[4] AS call_workers_total,
           s[29] AS displaced_total
      FROM sse._stat_gateway() AS s, sse._stat_calls() AS c;
REVOKE ALL ON sse.stat_gateway FROM PUBLIC;
GRANT SELECT ON sse.stat_gateway TO pg_monitor;
COMMENT ON VIEW sse.stat_gateway IS 'What the gateway is doing: port, state, and counters since the gateway was started.';

CREATE FUNCTION sse._subscribers() RETURNS text
    LANGUAGE c VOLATILE PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'list_subscribers_wrapper';
REVOKE ALL ON FUNCTION sse._subscribers() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION sse._subscribers() TO pg_monitor;

CREATE VIEW sse.subscribers AS
    SELECT address, user_id, user_name, url, topics, to_timestamp(connected_at) AS connected_at, events, bytes,
           last_event_id
      FROM json_to_recordset(sse._subscribers()::json) AS s(address inet, user_id text, user_name text, url text,
           topics text[], connected_at double precision, events bigint, bytes bigint, last_event_id text);
REVOKE ALL ON sse.subscribers FROM PUBLIC;
GRANT SELECT ON sse.subscribers TO pg_monitor;
COMMENT ON VIEW sse.subscribers IS 'The open streams: who listens, from where, to what, since when.';
