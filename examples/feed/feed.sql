-- A newsletter feed: every inserted row reaches every open page at once.
--
-- One table, one trigger function whose comment makes its RAISE an event, one trigger. That is the whole application;
-- index.html is the page.

CREATE TABLE newsletters (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    title      text NOT NULL,
    content    text NOT NULL DEFAULT '',
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE FUNCTION newsletter_added() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    -- The message is the data of the event. It goes out when the transaction commits, or never.
    RAISE INFO '%', to_json(NEW);
    RETURN NULL;
END
$$;

COMMENT ON FUNCTION newsletter_added() IS
'Tells every open page about a new newsletter.

@sse
@sse_scope all';

CREATE TRIGGER newsletter_added
    AFTER INSERT ON newsletters
    FOR EACH ROW EXECUTE FUNCTION newsletter_added();
