-- pg_sse 0.1.0 becomes 0.2.0. What is here stands in pg_sse--0.2.0.sql, too: pg_test/tests/upgrade.rs compares the two.
\echo Use "ALTER EXTENSION pg_sse UPDATE" to load this file. \quit

SELECT sse._check_installation('0.2.0');

-- Statistics ---------------------------------------------------------------------------------------------------------

-- Replaced and not dropped: views of others may rest on them, and their privileges and comments stay. So further columns
-- go to the end.
CREATE OR REPLACE VIEW sse.stat_ring AS
    SELECT s[1] AS capacity_bytes, s[2] AS used_bytes, s[3] AS records_total, s[4] AS bytes_total,
           s[5] AS full_total, s[6] AS dropped_total, s[7] AS too_large_total, s[8] AS parallel_total,
           s[9] AS misspelt_hint_total, s[10] AS unmatched_total, s[11] AS out_of_memory_total,
           s[12] AS internal_total, s[13] AS replaced_characters_total, s[14] AS order_given_up_total,
           sse._stats_reset() AS stats_reset, s[15] AS stalls_total
      FROM sse._stat_ring() AS s;
CREATE OR REPLACE VIEW sse.stat_gateway AS
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
