//! The pages of `docs/recipes/`, as they stand there, in a browser: two tabs, a reload, buttons pressed
//! twice, and a server that goes away and comes back.

mod common;

use anyhow::Result;
use cluster::{PATIENCE, StopMode, wait_for};
use common::browser::Browser;
use common::proxy;
use common::recipe::{Stand, block, run};
use serde_json::json;

const FILE: &str = env!("CARGO_CRATE_NAME");

#[test]
fn the_page_of_the_first_five_minutes_shows_what_is_new_and_comes_back_after_a_restart() -> Result<()> {
    let Some(browser) = Browser::start(FILE, "")? else { return Ok(()) };
    let stand = Stand::of("../start.md")?;
    let tab = browser.open(&stand.page("../start.md")?)?;
    let listens =
        || stand.cluster.comes_to(PATIENCE, "the page listens", "select count(*) from sse.subscribers", "1");
    listens()?;
    stand.cluster.sql("insert into news (title) values ('<b>one</b>')")?;
    tab.shows("li", "<b>one</b>")?;
    stand.cluster.restart(StopMode::Fast)?;
    listens()?;
    stand.cluster.sql("insert into news (title) values ('two')")?;
    tab.shows("li", "two|<b>one</b>")?;
    assert_eq!(browser.thrown(), [""; 0]);
    Ok(())
}

#[test]
fn a_counter_is_right_in_every_tab_after_a_reload_and_after_a_restart() -> Result<()> {
    let Some(browser) = Browser::start(FILE, "")? else { return Ok(()) };
    let stand = Stand::of("counter.md")?;
    let (one, two) = (browser.open(&stand.page("counter.md")?)?, browser.open(&stand.page("counter.md")?)?);
    one.shows("output", "0")?;
    two.shows("output", "0")?;
    one.press(2)?;
    one.shows("output", "2")?;
    two.shows("output", "2")?;
    two.reload()?;
    two.shows("output", "2")?;
    // The row is made anew.
    stand.cluster.sql("delete from counter; insert into counter values (7)")?;
    one.shows("output", "7")?;
    stand.cluster.stop(StopMode::Fast)?;
    one.press(1)?;
    one.shows("p", "That did not work.")?;
    stand.cluster.start()?;
    stand.cluster.sql("update counter set n = 8")?;
    one.shows("output", "8")?;
    two.shows("output", "8")?;
    one.press(1)?;
    two.shows("output", "9")?;
    one.shows("p", "")?;
    assert_eq!(browser.thrown(), [""; 0]);
    Ok(())
}

#[test]
fn a_counter_that_may_not_be_read_says_so() -> Result<()> {
    let Some(browser) = Browser::start(FILE, "")? else { return Ok(()) };
    let stand = Stand::of("counter.md")?;
    stand.cluster.sql("revoke select on counter from app")?;
    browser.open(&stand.page("counter.md")?)?.shows("p", "No value: the server's log says why.")
}

#[test]
fn a_table_is_right_in_every_tab_after_a_reload_and_after_a_restart() -> Result<()> {
    let Some(browser) = Browser::start(FILE, "")? else { return Ok(()) };
    let stand = Stand::of("table.md")?;
    stand.cluster.sql("insert into todo (title) values ('write')")?;
    let (one, two) = (browser.open(&stand.page("table.md")?)?, browser.open(&stand.page("table.md")?)?);
    one.shows("li", "write")?;
    two.shows("li", "write")?;
    stand.cluster.sql("insert into todo (title) values ('<b>read</b>')")?;
    stand.cluster.sql("update todo set is_done = true where id = 1")?;
    for tab in [&one, &two] {
        tab.shows("li", "done: write|<b>read</b>")?;
    }
    two.reload()?;
    two.shows("li", "done: write|<b>read</b>")?;
    // A new key: the row with the old one goes.
    stand.cluster.sql("update todo set id = default where id = 1")?;
    for tab in [&one, &two] {
        tab.shows("li", "<b>read</b>|done: write")?;
    }
    stand.cluster.stop(StopMode::Fast)?;
    stand.cluster.start()?;
    stand.cluster.sql("delete from todo where id = 2")?;
    for tab in [&one, &two] {
        tab.shows("li", "done: write")?;
    }
    assert_eq!(browser.thrown(), [""; 0]);
    Ok(())
}

#[test]
fn a_badge_is_right_in_every_tab_after_a_reload_a_restart_and_a_lost_session() -> Result<()> {
    let Some(browser) = Browser::start(FILE, "alice")? else { return Ok(()) };
    let stand = Stand::of("badge.md")?;
    let insert = "insert into message (receiver, body) values ('alice', 'Hello'), ('bob', 'not hers')";
    stand.cluster.sql(insert)?;
    let one = browser.open(&stand.page("badge.md")?)?;
    one.shows("b", "1")?;
    let two = browser.open(&stand.page("badge.md")?)?;
    two.shows("b", "1")?;
    stand.cluster.sql(insert)?;
    one.shows("b", "2")?;
    two.shows("b", "2")?;
    two.reload()?;
    two.shows("b", "2")?;
    stand.cluster.stop(StopMode::Fast)?;
    one.press(1)?;
    one.shows("p", "That did not work.")?;
    stand.cluster.start()?;
    stand.cluster.sql(insert)?;
    one.shows("b", "3")?;
    two.shows("b", "3")?;
    // The session ends: the page asks who is there, and goes on.
    stand.cluster.sql("select sse.disconnect('alice')")?;
    stand.cluster.sql(insert)?;
    one.shows("b", "4")?;
    one.press(2)?;
    one.shows("b", "0")?;
    two.shows("b", "0")?;
    assert_eq!(browser.thrown(), [""; 0]);
    Ok(())
}

#[test]
fn a_job_is_shown_in_every_tab_and_after_a_reload_and_can_be_started_once_at_a_time() -> Result<()> {
    let Some(browser) = Browser::start(FILE, "")? else { return Ok(()) };
    let stand = Stand::of("job.md")?;
    slow_down(&stand)?;
    let (one, two) = (browser.open(&stand.page("job.md")?)?, browser.open(&stand.page("job.md")?)?);
    one.is("document.querySelector('progress').value === 0", &json!(true))?;
    two.is("document.querySelector('progress').value === 0", &json!(true))?;
    one.press(2)?;
    for tab in [&one, &two] {
        tab.is("document.querySelector('progress').value > 0", &json!(true))?;
        tab.is("document.querySelector('button').disabled", &json!(true))?;
    }
    assert_eq!(stand.cluster.sql(RUNNING)?, "1", "pressed twice");
    one.reload()?;
    one.is("document.querySelector('progress').value > 20", &json!(true))?;
    for tab in [&one, &two] {
        tab.shows("output", "50 pages")?;
        tab.is("document.querySelector('button').disabled", &json!(false))?;
    }
    // The result is still there for whoever comes back.
    assert_eq!(two.value("localStorage.job ?? null")?, json!(null));
    two.reload()?;
    two.shows("output", "50 pages")?;
    two.is("document.querySelector('button').disabled", &json!(false))?;
    // Again, from the other tab; then the server is restarted under it.
    two.press(1)?;
    for tab in [&one, &two] {
        tab.is("document.querySelector('button').disabled", &json!(true))?;
        tab.is("document.querySelector('progress').value > 0", &json!(true))?;
    }
    stand.cluster.restart(StopMode::Fast)?;
    for tab in [&one, &two] {
        tab.shows("output", "The server was restarted.")?;
        tab.is("document.querySelector('button').disabled", &json!(false))?;
    }
    stand.cluster.stop(StopMode::Fast)?;
    one.press(1)?;
    one.shows("output", "That did not work.")?;
    one.is("document.querySelector('button').disabled", &json!(false))?;
    assert_eq!(browser.thrown(), [""; 0]);
    Ok(())
}

/// Makes the job take 15 seconds: a reload on a busy machine must not find it at its end.
fn slow_down(stand: &Stand) -> Result<()> {
    let sql = block("job.md", "sql", 0)?.replace("CREATE FUNCTION", "CREATE OR REPLACE FUNCTION");
    run(&stand.cluster, &sql.replace("pg_sleep(0.1)", "pg_sleep(0.3)"))
}

/// How many jobs run.
const RUNNING: &str = "select count(*) from pg_stat_activity where backend_type = 'pg_sse call worker'
                       and query like '%make_report%' and state = 'active'";

#[test]
fn a_job_that_is_older_than_the_window_goes_on_being_shown() -> Result<()> {
    let Some(browser) = Browser::start(FILE, "")? else { return Ok(()) };
    let stand = Stand::with(&["job.md"], common::calls::builder().setting("sse.window_age", "1s"))?;
    slow_down(&stand)?;
    let tab = browser.open(&stand.page("job.md")?)?;
    tab.press(1)?;
    tab.is("document.querySelector('progress').value >= 50", &json!(true))?;
    tab.reload()?;
    tab.is("document.querySelector('progress').value >= 50", &json!(true))?;
    tab.shows("output", "50 pages")
}

#[test]
fn an_answer_word_by_word_is_whole_and_says_when_it_is_broken_off() -> Result<()> {
    let Some(browser) = Browser::start(FILE, "")? else { return Ok(()) };
    let stand = Stand::of("tokens.md")?;
    let tab = browser.open(&stand.page("tokens.md")?)?;
    let ask = |question: &str| {
        tab.is("document.querySelector('button')?.disabled", &json!(false))?;
        tab.value(&format!("document.querySelector('input').value = '{question}'"))?;
        tab.press(2)
    };
    ask("and why is that so?")?;
    tab.is("/^You asked: and( why| is)* $/.test(document.querySelector('p').textContent)", &json!(true))?;
    tab.shows("p", "You asked: and why is that so?")?;
    ask(&"and ".repeat(2000))?;
    tab.is("document.querySelector('p').textContent.length > 30", &json!(true))?;
    stand.cluster.stop(StopMode::Fast)?;
    tab.is("document.querySelector('p').textContent.endsWith(')')", &json!(true))?;
    ask("again?")?;
    tab.shows("p", " (Failed to fetch)")?;
    stand.cluster.start()?;
    common::calls::ready(&stand.cluster)?;
    ask("now?")?;
    tab.shows("p", "You asked: now?")?;
    assert_eq!(browser.thrown(), [""; 0]);
    Ok(())
}

/// Without the lines of docs/operations.md that spare a page this.
#[test]
fn a_page_whose_proxy_has_answered_502_comes_back_by_itself() -> Result<()> {
    let Some(browser) = Browser::start(FILE, "alice")? else { return Ok(()) };
    let recipes = ["counter.md", "table.md", "badge.md", "job.md"];
    let builder = common::calls::builder().setting("sse.trusted_proxies", "127.0.0.1");
    let stand = Stand::with(&recipes, builder)?;
    let server = format!(
        "access_log /dev/stdout; location / {{ proxy_pass http://{}; proxy_http_version 1.1; proxy_set_header Connection \"\";
         proxy_set_header X-Forwarded-Host $http_host; proxy_set_header X-Forwarded-Proto $scheme; }}",
        stand.cluster.http()?.address()
    );
    let Some(proxy) = proxy::nginx(FILE, &server)? else { return Ok(()) };
    let open = |page: &str| browser.open(&proxy.http.url(page));
    let (counter, table) = (open("/counter.html")?, open("/table.html")?);
    let (badge, job) = (open("/badge.html")?, open("/job.html")?);
    counter.shows("output", "0")?;
    badge.shows("b", "0")?;
    job.press(1)?;
    job.is("document.querySelector('progress').value > 0", &json!(true))?;
    stand.cluster.stop(StopMode::Fast)?;
    for path in ["counter-changed", "todo-live", "unread-changed", "make-report"] {
        let is_refused =
            |line: &str| line.contains(&format!("GET /api/{path}/info")) && line.contains(" 502 ");
        wait_for(PATIENCE, path, || Ok(proxy.output()?.lines().any(is_refused).then_some(())))?;
    }
    stand.cluster.start()?;
    stand.cluster.sql(
        "update counter set n = 5; insert into todo (title) values ('write');
         insert into message (receiver, body) values ('alice', 'Hello')",
    )?;
    counter.shows("output", "5")?;
    table.shows("li", "write")?;
    badge.shows("b", "1")?;
    job.shows("output", "The server was restarted.")?;
    assert_eq!(browser.thrown(), [""; 0]);
    Ok(())
}
