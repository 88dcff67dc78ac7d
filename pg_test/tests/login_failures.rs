//! Whoever guesses passwords gets few answers a minute, however he asks: `sse.login_failures`.
//!
//! Not for what a login is: `call_login.rs`.

mod common;

use anyhow::{Context, Result, ensure};
use cluster::Cluster;
use cluster::http::{Request, Response};
use common::calls::{Api, builder, start, told};
use serde_json::json;

/// Says 401 in the three ways in which a login can, takes one password, and can be slow.
const LOGIN: &str = "
    create function login(_password text) returns table (user_id int, status int) language plpgsql security definer as $$
    begin
        if _password = 'slow' then perform pg_sleep(1); end if;
        if _password = 'raise' then raise 'no' using errcode = '28P01'; end if;
        if _password = 'forbidden' then return query select null::int, 403; end if;
        if _password = 'status' then return query select null::int, 401; end if;
        if _password = 'slow and right' then perform pg_sleep(3); end if;
        if _password like '%right' then raise info 'somebody is here'; return query select 1, 200; end if;
    end $$;
    comment on function login(text) is 'HTTP POST\n@login\n@anonymous\n@sse';
    create function get_login(_password text) returns table (user_id int) language sql stable security definer as $$
        select 1 where _password = 'right' $$;
    comment on function get_login(text) is 'HTTP GET\n@login\n@anonymous';
    create function guess(_password text) returns text language sql as $$ select 'no' $$;
    comment on function guess(text) is 'HTTP POST\n@anonymous';";

/// Calls come from a proxy, whose word about addresses is believed.
fn proxied(settings: &[(&str, &str)]) -> Result<Cluster> {
    let settings = settings.iter().fold(builder(), |builder, (name, value)| builder.setting(name, value));
    start(settings.setting("sse.trusted_proxies", "127.0.0.1").setting("sse.call_workers", 4))
}

fn log_in(api: &Api<'_>, address: &str, password: &str) -> Result<Response> {
    let request = api.request("POST", "login").header("X-Forwarded-For", address);
    api.http.request(&request.json(&json!({ "password": password })))
}

fn expect(answer: &Response, status: u16) -> Result<()> {
    ensure!(answer.status() == status, "{} for {status}", told(answer));
    Ok(())
}

// Attack: guessing a password, one guess after the other.
#[test]
fn after_ten_failed_logins_an_address_gets_429_and_a_right_password_too() -> Result<()> {
    let cluster = proxied(&[])?;
    let api = Api::of(&cluster, "guesses")?;
    api.sql(LOGIN)?;
    for number in 0..9 {
        expect(&log_in(&api, "192.0.2.1", ["wrong", "raise", "status"][number % 3])?, 401)?;
    }
    // Neither a right one nor one that fails otherwise counts, nor does it forgive.
    expect(&log_in(&api, "192.0.2.1", "right")?, 200)?;
    expect(&log_in(&api, "192.0.2.1", "forbidden")?, 403)?;
    expect(&log_in(&api, "192.0.2.1", "wrong")?, 401)?;
    for password in ["wrong", "right"] {
        let refused = log_in(&api, "192.0.2.1", password)?;
        expect(&refused, 429)?;
        let wait: u64 = refused.header("retry-after").context("Retry-After")?.parse()?;
        ensure!((1..=61).contains(&wait), "{wait}");
        ensure!(refused.header("set-cookie").is_none(), "{}", told(&refused));
        ensure!(refused.header("sse-position").is_none(), "{}", told(&refused));
    }
    // Others, and other calls of this address.
    expect(&log_in(&api, "192.0.2.2", "right")?, 200)?;
    let guess = api.request("POST", "guess").header("X-Forwarded-For", "192.0.2.1");
    expect(&api.http.request(&guess.json(&json!({ "password": "x" })))?, 200)?;
    cluster.reconfigure("sse.login_failures", "0")?;
    cluster::wait_for(cluster::PATIENCE, "no limit", || {
        Ok((log_in(&api, "192.0.2.1", "right")?.status() == 200).then_some(()))
    })
}

// Attack: all guesses at once, before the first of them has failed.
#[test]
fn of_many_guesses_at_a_time_not_more_are_answered() -> Result<()> {
    let cluster = proxied(&[("sse.login_failures", "3")])?;
    let api = Api::of(&cluster, "crowds")?;
    api.sql(LOGIN)?;
    let (right, statuses) = std::thread::scope(|scope| {
        let right = scope.spawn(|| log_in(&api, "192.0.2.1", "slow and right"));
        let guess = || Ok(log_in(&api, "192.0.2.1", "slow")?.status());
        let guesses: Vec<_> = (0..11).map(|_| scope.spawn(guess)).collect();
        let statuses = guesses.into_iter().map(|guess| guess.join().ok().context("a panic")?);
        let statuses = statuses.collect::<Result<Vec<u16>>>()?;
        anyhow::Ok((right.join().ok().context("a panic")??, statuses))
    })?;
    let count = |status: u16| statuses.iter().filter(|found| **found == status).count();
    ensure!((count(401), count(429)) == (3, 8), "{statuses:?}");
    // What it was worth is told in no other way either: it has published.
    expect(&right, 429)?;
    ensure!(right.header("sse-position").is_none(), "{}", told(&right));
    Ok(())
}

// Attack: a page elsewhere with ten pictures that are logins, so that nobody at the visitor's address gets
// in.
#[test]
fn pages_of_other_origins_cause_no_failures() -> Result<()> {
    let cluster = proxied(&[("sse.login_failures", "2")])?;
    let api = Api::of(&cluster, "pictures")?;
    api.sql(LOGIN)?;
    let picture = |password: &str, site: &str| {
        let path = format!("get-login?password={password}");
        let request = Request::new("GET", &api.path(&path)).header("X-Forwarded-For", "192.0.2.1");
        api.http.request(&request.header("Sec-Fetch-Site", site))
    };
    for _ in 0..3 {
        expect(&picture("wrong", "cross-site")?, 403)?;
    }
    expect(&picture("right", "cross-site")?, 403)?;
    expect(&picture("right", "same-origin")?, 200)?;
    expect(&picture("wrong", "none")?, 401)
}

// Attack: a network of one's own, with an address for each guess.
#[test]
fn an_ipv6_network_is_one_address() -> Result<()> {
    let cluster = proxied(&[("sse.login_failures", "2")])?;
    let api = Api::of(&cluster, "networks")?;
    api.sql(LOGIN)?;
    for (address, status) in
        [("2001:db8::1", 401), ("2001:db8::ffff:1", 401), ("2001:db8::2", 429), ("2001:db8:0:1::1", 401)]
    {
        expect(&log_in(&api, address, "wrong")?, status)?;
    }
    Ok(())
}

#[test]
fn behind_a_proxy_that_is_not_named_nobody_is_counted_for_another_and_the_log_says_so_once() -> Result<()> {
    let cluster = start(builder().setting("sse.login_failures", 1))?;
    let api = Api::of(&cluster, "unnamed")?;
    api.sql(LOGIN)?;
    let mark = cluster.log_mark()?;
    for _ in 0..3 {
        expect(&log_in(&api, "192.0.2.1", "wrong")?, 401)?;
    }
    expect(&log_in(&api, "192.0.2.2", "right")?, 200)?;
    let line = "127.0.0.1 says in X-Forwarded-For for whom it asks, and is not believed";
    cluster.wait_for_log(mark, line)?;
    ensure!(cluster.log()?.matches(line).count() == 1, "{}", cluster.log()?);
    Ok(())
}
