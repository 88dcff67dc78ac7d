-- Objects of the extension pg_sse, version 0.2.0.
\echo Use "CREATE EXTENSION pg_sse" to load this file. \quit

-- Everything below is in schema sse, which belongs to a superuser (that is checked next). Nobody else may create in it.
REVOKE ALL ON SCHEMA sse FROM PUBLIC;
GRANT USAGE ON SCHEMA sse TO PUBLIC;

-- First of all: is the library there, preloaded, and of this version? And is the schema nobody else's?
CREATE FUNCTION sse._check_installation(script_version text) RETURNS void
    LANGUAGE c STRICT AS 'MODULE_PATHNAME', 'check_installation_wrapper';
REVOKE ALL ON FUNCTION sse._check_installation(text) FROM PUBLIC;
SELECT sse._check_installation('0.2.0'::pg_catalog.text);

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

CREATE FUNCTION sse.publish_change() RETURNS trigger
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'publish_change_wrapper';
REVOKE ALL ON FUNCTION sse.publish_change() FROM PUBLIC;
COMMENT ON FUNCTION sse.publish_change() IS
    'For a trigger AFTER INSERT OR UPDATE OR DELETE FOR EACH ROW: publishes each change of the table. Arguments: scope (default authorize), then the columns that are shown (none: all).';

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

CREATE TABLE sse._refusals (
    number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind text NOT NULL CHECK (kind IN ('user', 'token', 'nameless')),
    name bytea NOT NULL,
    moment bigint NOT NULL
);
CREATE UNIQUE INDEX _refusals_kind_name ON sse._refusals (kind, sha256(name));
REVOKE ALL ON sse._refusals FROM PUBLIC;
COMMENT ON TABLE sse._refusals IS
    'Who is refused, for all servers of a replication tree with sse.durability = wal: users by id and tokens by digest, and until when, in microseconds since 1970. Not for SQL: sse.disconnect refuses.';

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

-- Clients ------------------------------------------------------------------------------------------------------------

CREATE FUNCTION sse.typescript_client(schema name DEFAULT NULL) RETURNS text
    LANGUAGE c STABLE PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'typescript_client_wrapper';
COMMENT ON FUNCTION sse.typescript_client(name) IS
    'A client in TypeScript for everything that can be called or listened to, or for what one schema has of it.';

CREATE FUNCTION sse.openapi(schema name DEFAULT NULL) RETURNS json
    LANGUAGE c STABLE PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'openapi_wrapper';
COMMENT ON FUNCTION sse.openapi(name) IS
    'An OpenAPI 3.2 document of everything that can be called or listened to, or of what one schema has of it.';

CREATE FUNCTION sse.asyncapi(schema name DEFAULT NULL) RETURNS json
    LANGUAGE c STABLE PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'asyncapi_wrapper';
COMMENT ON FUNCTION sse.asyncapi(name) IS
    'An AsyncAPI 3.0 document of the streams, or of those of one schema.';

-- Statistics ---------------------------------------------------------------------------------------------------------

CREATE FUNCTION sse._ring_figures() RETURNS text
    LANGUAGE c VOLATILE PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'ring_figures_wrapper';
CREATE FUNCTION sse._gateway_figures() RETURNS text
    LANGUAGE c VOLATILE PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'gateway_figures_wrapper';
CREATE FUNCTION sse._gateway_state() RETURNS text
    LANGUAGE c VOLATILE PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'gateway_state_wrapper';
CREATE FUNCTION sse._gateway_started_at() RETURNS timestamptz
    LANGUAGE c VOLATILE PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'gateway_started_at_wrapper';
CREATE FUNCTION sse._call_state() RETURNS text
    LANGUAGE c VOLATILE PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'call_state_wrapper';
CREATE FUNCTION sse._stats_reset() RETURNS timestamptz
    LANGUAGE c VOLATILE PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'stats_reset_wrapper';
REVOKE ALL ON FUNCTION sse._ring_figures(), sse._gateway_figures(), sse._gateway_state(), sse._gateway_started_at(),
    sse._stats_reset(), sse._call_state() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION sse._ring_figures(), sse._gateway_figures(), sse._gateway_state(), sse._gateway_started_at(),
    sse._stats_reset(), sse._call_state() TO pg_monitor;

-- Further columns of these views go to the end: the upgrade script replaces them, and views of others may rest on them.
CREATE VIEW sse.stat_ring AS
    SELECT capacity_bytes, used_bytes, records_total, bytes_total, full_total, dropped_total, too_large_total,
           parallel_total, misspelt_hint_total, unmatched_total, out_of_memory_total, internal_total,
           replaced_characters_total, order_given_up_total, sse._stats_reset() AS stats_reset, stalls_total,
           unfit_trigger_total, standby_total
      FROM json_to_record(sse._ring_figures()::json) AS figures(
           capacity_bytes bigint, used_bytes bigint, records_total bigint, bytes_total bigint, full_total bigint,
           dropped_total bigint, too_large_total bigint, parallel_total bigint, misspelt_hint_total bigint,
           unmatched_total bigint, out_of_memory_total bigint, internal_total bigint,
           replaced_characters_total bigint, order_given_up_total bigint, stalls_total bigint,
           unfit_trigger_total bigint, standby_total bigint);
REVOKE ALL ON sse.stat_ring FROM PUBLIC;
GRANT SELECT ON sse.stat_ring TO pg_monitor;
COMMENT ON VIEW sse.stat_ring IS 'The ring between backends and gateway, and what could not be published, since server start.';

CREATE VIEW sse.stat_gateway AS
    SELECT sse._gateway_state() AS state, nullif(f.port, 0)::int AS port, nullif(f.pid, 0)::int AS pid,
           sse._gateway_started_at() AS started_at,
           CASE WHEN f.pid <> 0 THEN clock_timestamp() - sse._gateway_started_at() END AS uptime,
           connections, subscribers, connections_total, subscribers_total, refused_total, events_total,
           undeliverable_total, undecodable_total, deliveries_total, bytes_total, gaps_total, write_timeouts_total,
           junk_total, window_bytes, window_events, requests_dropped_total, anonymous_subscribers,
           refused_addresses_total, refused_tokens_total, asked_total, woken_total,
           sse._call_state() AS calls, call_workers, calls_running, calls_waiting,
           calls_total, calls_failed_total, calls_refused_total, calls_cancelled_total, calls_lost_total,
           call_workers_total, displaced_total, snapshots_total, snapshots_failed_total, covered_total
      FROM json_to_record(sse._gateway_figures()::json) AS f(
           connections bigint, subscribers bigint, connections_total bigint, subscribers_total bigint,
           refused_total bigint, events_total bigint, undeliverable_total bigint, undecodable_total bigint,
           deliveries_total bigint, bytes_total bigint, gaps_total bigint, write_timeouts_total bigint,
           junk_total bigint, window_bytes bigint, window_events bigint, requests_dropped_total bigint,
           anonymous_subscribers bigint, refused_addresses_total bigint, refused_tokens_total bigint,
           asked_total bigint, woken_total bigint, calls_waiting bigint, calls_total bigint,
           calls_failed_total bigint, calls_refused_total bigint, calls_cancelled_total bigint,
           displaced_total bigint, snapshots_total bigint, snapshots_failed_total bigint, covered_total bigint, port bigint, pid bigint, call_workers int, calls_running int,
           calls_lost_total bigint, call_workers_total bigint);
REVOKE ALL ON sse.stat_gateway FROM PUBLIC;
GRANT SELECT ON sse.stat_gateway TO pg_monitor;
COMMENT ON VIEW sse.stat_gateway IS 'What the gateway is doing: port, state, and counters since the gateway was started.';

CREATE FUNCTION sse._wal_figures() RETURNS text
    LANGUAGE c VOLATILE PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'wal_figures_wrapper';
REVOKE ALL ON FUNCTION sse._wal_figures() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION sse._wal_figures() TO pg_monitor;

CREATE VIEW sse.stat_wal AS
    SELECT nullif(pid, 0)::int AS pid, nullif(timeline, 0) AS timeline, position::pg_lsn AS position,
           end_position::pg_lsn AS end_position, nullif(begin_position, '0/0')::pg_lsn AS begin_position,
           CASE WHEN position <> '0/0' THEN greatest(end_position::pg_lsn - position::pg_lsn, 0)::bigint END
               AS behind_bytes,
           behind_us / 1e6::double precision AS behind_seconds,
           caught_up, timestamptz 'epoch' + held_since_us * interval '1 microsecond' AS held_since,
           nullif(held_by, 0)::int AS held_by, retained_bytes, events_total, marks_total, unreadable_total,
           foreign_total
      FROM json_to_record(sse._wal_figures()::json) AS figures(
           pid bigint, timeline bigint, position text, end_position text, begin_position text, behind_us bigint,
           caught_up boolean, held_since_us bigint, held_by bigint, retained_bytes bigint, events_total bigint,
           marks_total bigint, unreadable_total bigint, foreign_total bigint)
     WHERE position IS NOT NULL;
REVOKE ALL ON sse.stat_wal FROM PUBLIC;
GRANT SELECT ON sse.stat_wal TO pg_monitor;
COMMENT ON VIEW sse.stat_wal IS
    'The reader of the write-ahead log (sse.durability = wal); no row where events are in memory.';

CREATE FUNCTION sse._histograms() RETURNS text
    LANGUAGE c VOLATILE PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'list_histograms_wrapper';
REVOKE ALL ON FUNCTION sse._histograms() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION sse._histograms() TO pg_monitor;

CREATE VIEW sse.stat_histograms AS
    SELECT name, method, status, coalesce(upper_bound, 'Infinity') AS upper_bound, count, sum, total
      FROM json_to_recordset(sse._histograms()::json) AS h(name text, method text, status text,
           upper_bound double precision, count bigint, sum double precision, total bigint);
REVOKE ALL ON sse.stat_histograms FROM PUBLIC;
GRANT SELECT ON sse.stat_histograms TO pg_monitor;
COMMENT ON VIEW sse.stat_histograms IS
    'How long events and calls took, and for how many streams events were, since the gateway was started.';

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
