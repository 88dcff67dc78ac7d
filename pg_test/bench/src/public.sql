-- Six functions that read no table, of the shapes that a public comparison has (docs/performance.md): what is
-- measured is the way to a routine and back.

-- One row of a text and the time.
create function perf_minimal() returns table (status text, ts timestamptz) language sql stable
    as $$ select 'ok', now() $$;

-- Rows of 23 columns of twenty types, the last two of which may be NULL, from sixteen parameters.
create function perf_test(
    _rows int, _label text, _whole int, _big bigint, _exact numeric, _single real, _double double precision, _flag bool,
    _day date, _moment timestamp, _instant timestamptz, _key uuid, _document json, _binary jsonb, _numbers int[], _words text[]
) returns table (
    num int, txt text, label varchar(100), code char(10), small smallint, whole int, big bigint, exact numeric(12, 4),
    single real, wide double precision, flag bool, day date, clock time, moment timestamp, instant timestamptz, span interval,
    key uuid, document json, binary_document jsonb, numbers int[], words text[], remark text, place int
) language sql stable as $$
    select n, _label || n, (_label || n)::varchar(100), to_char(n, 'FM0000000000')::char(10), (n % 1000)::smallint,
        _whole - n, _big - n, (_exact * n)::numeric(12, 4), (_single * n)::real, _double * n, _flag and n > 0,
        _day + n, '08:00'::time + n * interval '1 minute', _moment + n * interval '1 hour', _instant + n * interval '1 hour',
        n * interval '1 day', case n when 1 then _key else md5(_key::text || n)::uuid end,
        json_build_object('n', n, 'of', _document), _binary || jsonb_build_object('n', n), _numbers || n, _words || (_label || n),
        case when n % 2 = 1 then _label end, case when n % 2 = 1 then n end
    from generate_series(1, _rows) n
$$;

-- Rows with what the body of the request had.
create function perf_post(_rows int, _payload jsonb) returns table (num int, echo jsonb, computed text) language sql stable
    as $$ select n, _payload, 'row ' || n from generate_series(1, _rows) n $$;

-- Rows of objects within objects.
create function perf_nested(_rows int, _depth int) returns table (num int, nested jsonb) language sql stable as $$
    select n, case
        when _depth > 2 then jsonb_build_object('a', jsonb_build_object('b', jsonb_build_object('c', n)))
        when _depth = 2 then jsonb_build_object('a', jsonb_build_object('b', n))
        else jsonb_build_object('a', n) end
    from generate_series(1, _rows) n
$$;

-- One long text.
create function perf_large_payload(_kilobytes int) returns table (data text) language sql stable
    as $$ select repeat('x', _kilobytes * 1024) $$;

-- Twenty parameters of four types.
create function perf_many_params(
    _a_text text, _a_int int, _a_flag bool, _a_exact numeric, _b_text text, _b_int int, _b_flag bool, _b_exact numeric,
    _c_text text, _c_int int, _c_flag bool, _c_exact numeric, _d_text text, _d_int int, _d_flag bool, _d_exact numeric,
    _e_text text, _e_int int, _e_flag bool, _e_exact numeric
) returns table (given int, digest text) language sql stable as $$
    select num_nonnulls(_a_int, _a_flag, _a_exact, _b_int, _b_flag, _b_exact, _c_int, _c_flag, _c_exact, _d_int, _d_flag, _d_exact,
        _e_int, _e_flag, _e_exact) + 5, md5(concat(_a_text, _b_text, _c_text, _d_text, _e_text))
$$;

comment on function perf_minimal is 'HTTP';
comment on function perf_test is 'HTTP';
comment on function perf_post is 'HTTP POST';
comment on function perf_nested is 'HTTP';
comment on function perf_large_payload is 'HTTP';
comment on function perf_many_params is 'HTTP';
