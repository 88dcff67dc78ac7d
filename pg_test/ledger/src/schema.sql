-- Tables and routines of the ledger test. Rows of "audience" are added by schema.rs.

CREATE TABLE ledger (writer int, number int, PRIMARY KEY (writer, number));
CREATE TABLE counter (value bigint NOT NULL);
INSERT INTO counter VALUES (0);
CREATE TABLE audience (number int PRIMARY KEY, scope text, topic text, execution_id text, emitter text);

CREATE FUNCTION say(data text, hint text) RETURNS void LANGUAGE plpgsql
    AS $f$ BEGIN RAISE INFO '%', data USING HINT = hint; END $f$;
COMMENT ON FUNCTION say IS '@sse';
CREATE FUNCTION say_now(data text, hint text) RETURNS void LANGUAGE plpgsql
    AS $f$ BEGIN RAISE INFO '%', data USING HINT = hint; END $f$;
COMMENT ON FUNCTION say_now IS E'@sse_publish\n@sse_delivery immediate';
CREATE FUNCTION news(data text, hint text) RETURNS void LANGUAGE plpgsql
    AS $f$ BEGIN RAISE INFO '%', data USING HINT = hint; END $f$;
COMMENT ON FUNCTION news IS E'@sse_publish\n@sse_topic news';
CREATE FUNCTION news_now(data text, hint text) RETURNS void LANGUAGE plpgsql
    AS $f$ BEGIN RAISE INFO '%', data USING HINT = hint; END $f$;
COMMENT ON FUNCTION news_now IS E'@sse_publish\n@sse_topic news\n@sse_delivery immediate';
CREATE FUNCTION signed() RETURNS void LANGUAGE plpgsql AS $f$ BEGIN END $f$;
COMMENT ON FUNCTION signed IS E'@sse_subscribe\n@authorize';

-- Raises event n of writer w, and enters it into the ledger if it is one that waits for the commit.
CREATE FUNCTION put(w int, n int, now boolean, a int, size int, lines int, counter bigint DEFAULT 0) RETURNS void
    LANGUAGE plpgsql AS $f$
DECLARE
    who audience;
    data text := format('%s %s %s %s %s %s %s|', w, n, CASE WHEN now THEN 'i' ELSE 'c' END, a, counter, size, lines)
        || left(repeat(CASE lines WHEN 0 THEN 'abcdefgh' ELSE E'abcdefg\n' END, size / 8 + 1), size);
BEGIN
    SELECT * INTO STRICT who FROM audience WHERE number = a;
    PERFORM set_config('sse.execution_id', who.execution_id, true), set_config('request.user_id', who.emitter, true);
    IF n % 3 = 0 OR who.topic NOT IN ('', 'news') THEN
        PERFORM sse.publish(data, who.scope, topic => nullif(who.topic, ''),
                            delivery => CASE WHEN now THEN 'immediate' ELSE 'commit' END);
    ELSIF who.topic = 'news' THEN
        IF now THEN PERFORM news_now(data, who.scope); ELSE PERFORM news(data, who.scope); END IF;
    ELSE
        IF now THEN PERFORM say_now(data, who.scope); ELSE PERFORM say(data, who.scope); END IF;
    END IF;
    PERFORM set_config('sse.execution_id', '', true), set_config('request.user_id', '', true);
    IF NOT now THEN
        INSERT INTO ledger VALUES (w, n);
    END IF;
END $f$;

-- In an HTTP call. One that nobody waits for any more must not raise behind a later one.
CREATE ROLE ledger_calls LOGIN;
CREATE TABLE called (writer int PRIMARY KEY, last int NOT NULL);
CREATE FUNCTION put_called(w int, n int, now boolean, a int) RETURNS void LANGUAGE plpgsql SECURITY DEFINER AS $f$
BEGIN
    UPDATE called SET last = n WHERE writer = w AND last < n;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'too late';
    END IF;
    PERFORM put(w, n, now, a, 30, 0);
END $f$;
COMMENT ON FUNCTION put_called IS E'HTTP POST\n@authorize';

-- Whoever raises the counter has seen what the last one raised it to.
CREATE FUNCTION put_counted(w int, n int, a int) RETURNS void LANGUAGE plpgsql AS $f$
DECLARE
    raised bigint;
BEGIN
    UPDATE counter SET value = value + 1 RETURNING value INTO raised;
    PERFORM put(w, n, false, a, 0, 0, raised);
END $f$;

-- The second of three is rolled back by an exception block.
CREATE FUNCTION put_caught(w int, n int, now boolean, a int) RETURNS void LANGUAGE plpgsql AS $f$
BEGIN
    PERFORM put(w, n, now, a, 10, 0);
    BEGIN
        PERFORM put(w, n + 1, now, a, 10, 0);
        RAISE EXCEPTION 'on purpose';
    EXCEPTION WHEN raise_exception THEN
        NULL;
    END;
    PERFORM put(w, n + 2, now, a, 10, 0);
END $f$;

CREATE PROCEDURE put_in_a_loop(w int, n int, times int, a int, size int) LANGUAGE plpgsql AS $f$
BEGIN
    FOR i IN 0 .. times - 1 LOOP
        PERFORM put(w, n + i, false, a, size, 0);
        COMMIT;
    END LOOP;
END $f$;

-- What followers keep up with, by a snapshot and the changes behind it. The topic keeps it from the readers.
CREATE TABLE tally (id int PRIMARY KEY, n bigint NOT NULL);
INSERT INTO tally SELECT i, 0 FROM generate_series(1, 10) i;
GRANT SELECT ON tally TO ledger_calls;
CREATE FUNCTION tally_now() RETURNS jsonb LANGUAGE sql STABLE AS $f$ SELECT jsonb_object_agg(id, n) FROM tally $f$;
CREATE FUNCTION tallied() RETURNS trigger LANGUAGE plpgsql AS $f$ BEGIN RAISE INFO '% %', NEW.id, NEW.n; RETURN NULL; END $f$;
COMMENT ON FUNCTION tallied IS E'@sse\n@sse_topic tally\n@sse_snapshot tally_now as state';
CREATE TRIGGER tallied AFTER UPDATE ON tally FOR EACH ROW EXECUTE FUNCTION tallied();

-- Each state that the tally had, in order: one transaction after the other. A snapshot is one of them.
CREATE TABLE tally_states (number bigserial PRIMARY KEY, rows jsonb NOT NULL);
INSERT INTO tally_states (rows) VALUES (tally_now());
CREATE FUNCTION note_tally() RETURNS trigger LANGUAGE plpgsql AS $f$
BEGIN
    IF TG_WHEN = 'BEFORE' THEN
        PERFORM pg_advisory_xact_lock(1);
    ELSE
        INSERT INTO tally_states (rows) VALUES (tally_now());
    END IF;
    RETURN NULL;
END $f$;
CREATE TRIGGER alone BEFORE UPDATE ON tally FOR EACH STATEMENT EXECUTE FUNCTION note_tally();
CREATE TRIGGER noted AFTER UPDATE ON tally FOR EACH STATEMENT EXECUTE FUNCTION note_tally();
