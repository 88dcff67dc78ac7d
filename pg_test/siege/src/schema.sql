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

-- What the honest follower keeps up with. Its topic keeps it from the honest subscriber.
CREATE TABLE score (id int PRIMARY KEY, n bigint NOT NULL);
INSERT INTO score SELECT i, 0 FROM generate_series(1, 20) i;
GRANT SELECT ON score TO web;
GRANT SELECT, UPDATE ON score TO honest;
CREATE FUNCTION score_now() RETURNS jsonb LANGUAGE sql STABLE AS $f$ SELECT jsonb_object_agg(id, n) FROM score $f$;
CREATE FUNCTION scored() RETURNS trigger LANGUAGE plpgsql AS $f$ BEGIN RAISE INFO '% %', NEW.id, NEW.n; RETURN NULL; END $f$;
COMMENT ON FUNCTION scored IS E'@sse\n@sse_topic score\n@sse_snapshot score_now as state';
CREATE TRIGGER scored AFTER UPDATE ON score FOR EACH ROW EXECUTE FUNCTION scored();

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
-- A call that says how far it has come.
CREATE FUNCTION mallory.progress(n int, size int, result int, pause float) RETURNS text LANGUAGE plpgsql AS $f$
BEGIN
    FOR i IN 1 .. n LOOP
        RAISE INFO '%', repeat('p', size);
        PERFORM pg_sleep(pause);
    END LOOP;
    RETURN repeat('r', result);
END $f$;
COMMENT ON FUNCTION mallory.progress IS E'HTTP GET\n@sse\n@sse_delivery immediate\n@sse_scope caller\n@sse_topic noise';
-- Streams that begin with a snapshot. They hear the noise: who does not read it gets a gap, and then
-- another snapshot.
CREATE FUNCTION mallory.all_now() RETURNS SETOF int LANGUAGE sql AS $f$ SELECT generate_series(1, 2000) $f$;
CREATE FUNCTION mallory.own_now(_user_id text) RETURNS text LANGUAGE sql AS $f$ SELECT repeat(_user_id, 2000) $f$;
CREATE FUNCTION mallory.slow_now() RETURNS text LANGUAGE sql AS $f$ SELECT 'slow' FROM pg_sleep(random() * 0.6) $f$;
CREATE FUNCTION mallory.failing_now() RETURNS int LANGUAGE sql AS $f$ SELECT (1 / (random() * 0.4)::int) $f$;
CREATE FUNCTION mallory.huge_now() RETURNS text LANGUAGE sql AS $f$ SELECT repeat('h', (10 ^ (4 + random() * 4))::int) $f$;
CREATE FUNCTION mallory.gone_now() RETURNS int LANGUAGE sql AS $f$ SELECT 1 $f$;
DO $$ DECLARE kind text; BEGIN
    FOREACH kind IN ARRAY '{all,own,slow,failing,huge,gone}'::text[] LOOP
        EXECUTE format('CREATE FUNCTION mallory.with_%s() RETURNS void LANGUAGE sql AS %L', kind, '');
        EXECUTE format('COMMENT ON FUNCTION mallory.with_%s IS %L', kind,
                       format(E'@sse\n@sse_topic noise\n@sse_snapshot %s_now as state', kind));
    END LOOP;
END $$;
RESET ROLE;
-- Tables whose changes are told, and which are altered all the time. Their triggers go with the extension;
-- the attackers make them anew.
CREATE PROCEDURE mallory.make_tables() LANGUAGE plpgsql SET client_min_messages = warning AS $f$
DECLARE
    name text;
BEGIN
    DROP TABLE IF EXISTS mallory.stock, mallory.broad, mallory.parts, mallory.parts_1;
    CREATE TABLE mallory.stock (id bigint CONSTRAINT stock_pkey PRIMARY KEY, body text);
    EXECUTE format('CREATE TABLE mallory.broad (id bigint PRIMARY KEY, %s)',
        (SELECT string_agg(format('%I int', repeat('"', 50) || i), ', ') FROM generate_series(1, 1200) i));
    INSERT INTO mallory.broad (id) VALUES (0);
    CREATE TABLE mallory.parts (id bigint PRIMARY KEY, body text) PARTITION BY HASH (id);
    CREATE TABLE mallory.parts_0 PARTITION OF mallory.parts FOR VALUES WITH (modulus 2, remainder 0);
    CREATE TABLE mallory.parts_1 PARTITION OF mallory.parts FOR VALUES WITH (modulus 2, remainder 1);
    FOREACH name IN ARRAY '{stock,broad,parts,parts_1}'::text[] LOOP
        EXECUTE format('ALTER TABLE mallory.%I OWNER TO mallory', name);
        CONTINUE WHEN name = 'parts_1';
        EXECUTE format('CREATE TRIGGER tells AFTER INSERT OR UPDATE OR DELETE ON mallory.%I FOR EACH ROW EXECUTE FUNCTION sse.publish_change(%L)', name, 'all');
    END LOOP;
END $f$;
CALL mallory.make_tables();
