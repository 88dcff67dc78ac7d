-- Roles, tables and routines of the siege.

CREATE ROLE web LOGIN;
CREATE ROLE honest LOGIN;
-- Its own texts of megabytes are not to fill the log.
CREATE ROLE mallory LOGIN;
ALTER ROLE mallory SET log_min_error_statement = 'panic';
ALTER ROLE mallory SET statement_timeout = '20s';
CREATE SCHEMA mallory AUTHORIZATION mallory;
GRANT USAGE ON SCHEMA mallory TO web;

-- What the honest use.
CREATE FUNCTION say(n text) RETURNS void LANGUAGE plpgsql AS $f$ BEGIN RAISE INFO '%', n; END $f$;
COMMENT ON FUNCTION say IS '@sse';
CREATE FUNCTION echo(nonce text) RETURNS json LANGUAGE sql STABLE AS
    $f$ SELECT json_build_object('nonce', nonce, 'who', current_setting('request.user_id', true)) $f$;
COMMENT ON FUNCTION echo IS E'HTTP POST\n@authorize';
-- Its row type changes all the time. It does not read the table: ALTER TABLE's rewriting is not MVCC-safe, so a snapshot from
-- before may find nothing, also in plain Postgres.
CREATE TABLE item (id int, nonce text, who text);
CREATE FUNCTION item_of(nonce text) RETURNS item LANGUAGE sql STABLE AS
    $f$ SELECT 1, item_of.nonce, current_setting('request.user_id', true) $f$;
COMMENT ON FUNCTION item_of IS E'HTTP POST\n@authorize';

-- What the hostile use.
CREATE FUNCTION big(n int) RETURNS text LANGUAGE sql IMMUTABLE AS $f$ SELECT repeat('x', n) $f$;
COMMENT ON FUNCTION big IS 'HTTP GET';
CREATE FUNCTION deep(doc jsonb) RETURNS int LANGUAGE sql IMMUTABLE AS $f$ SELECT octet_length(doc::text) $f$;
COMMENT ON FUNCTION deep IS 'HTTP POST';
CREATE FUNCTION who_am_i() RETURNS text LANGUAGE sql STABLE AS $f$ SELECT current_setting('request.user_id', true) $f$;
COMMENT ON FUNCTION who_am_i IS E'HTTP GET\n@authorize';
CREATE FUNCTION login(name text) RETURNS TABLE (user_id text, user_name text) LANGUAGE sql STABLE AS $f$ SELECT name, name $f$;
COMMENT ON FUNCTION login IS E'HTTP POST\n@login\n@anonymous';
CREATE FUNCTION logout() RETURNS void LANGUAGE sql AS '';
COMMENT ON FUNCTION logout IS E'HTTP POST\n@logout\n@anonymous';
CREATE FUNCTION boom(kind int) RETURNS int LANGUAGE plpgsql AS $f$
BEGIN
    CASE kind WHEN 0 THEN RETURN 1 / kind;
              WHEN 1 THEN RAISE EXCEPTION 'on purpose %', repeat('ü', 300);
              WHEN 2 THEN EXECUTE 'select nothing from nowhere';
              ELSE RAISE EXCEPTION 'gone' USING ERRCODE = 'PT404';
    END CASE;
END $f$;
COMMENT ON FUNCTION boom IS 'HTTP POST';
-- A row type whose statement has pages of its own.
DO $$ BEGIN EXECUTE format('CREATE TYPE wide AS (%s)',
    (SELECT string_agg(format('%I int', repeat('"', 55) || '_' || lpad(i::text, 4, '0')), ', ') FROM generate_series(0, 1199) i)); END $$;
CREATE FUNCTION wid(x int) RETURNS wide LANGUAGE plpgsql AS $f$ BEGIN RAISE EXCEPTION 'no'; END $f$;
COMMENT ON FUNCTION wid IS 'HTTP POST';

SET ROLE mallory;
CREATE FUNCTION mallory.noise(n int, size int, hint text) RETURNS void LANGUAGE plpgsql AS $f$
BEGIN
    FOR i IN 1 .. n LOOP
        RAISE INFO '%', repeat('n', size) USING HINT = hint;
    END LOOP;
END $f$;
COMMENT ON FUNCTION mallory.noise IS E'@sse\n@sse_topic noise';
CREATE FUNCTION mallory.victim() RETURNS void LANGUAGE plpgsql AS $f$ BEGIN END $f$;
RESET ROLE;
