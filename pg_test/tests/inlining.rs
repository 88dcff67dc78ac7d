//! A line `HTTP` in the comment of a SQL function changes no plan: the planner puts the function's body in
//! place of a call, as before.

mod common;

use anyhow::{Result, ensure};
use cluster::Session;
use common::{Corner, SOON};

const SETUP: &str = "
    create table big (id int primary key, v int);
    insert into big select i, i from generate_series(1, 10000) i;
    analyze big;
    create function bigs() returns setof big language sql stable as 'select * from big';
    create function twice(n int) returns int language sql immutable as 'select n * 2';";

const PLANS: [&str; 2] = ["select * from bigs() where id = 5", "select twice(id) from big where id = 5"];

fn plan(session: &mut Session, statement: &str) -> Result<String> {
    Ok(session.run(&format!("explain (verbose, costs off) {statement}"))?.ok()?.text())
}

fn comment(session: &mut Session, text: &str) -> Result<()> {
    for routine in ["bigs()", "twice(int)"] {
        session.run(&format!("comment on function {routine} is {text}"))?.ok()?;
    }
    Ok(())
}

#[test]
fn an_http_line_leaves_a_sql_function_inlined_and_an_sse_line_does_not() -> Result<()> {
    let corner = Corner::new("inlined")?;
    corner.sql(SETUP)?;
    let mut session = corner.session()?;
    let plans = |session: &mut Session| -> Result<Vec<String>> {
        PLANS.iter().map(|statement| plan(session, statement)).collect()
    };
    let before = plans(&mut session)?;
    ensure!(before.iter().all(|plan| !plan.contains("bigs") && !plan.contains("twice(")), "{before:?}");
    for http in ["'HTTP GET'", "E'HTTP\\n@authorize'", "E'HTTP GET /inlined/x\\nprose'", "'prose'"] {
        comment(&mut session, http)?;
        assert_eq!(plans(&mut session)?, before, "{http}");
        // A publisher is bracketed, and so is a routine that ends the search for one; the documentation says
        // what that costs.
        for bracketed in ["E'HTTP GET\\n@sse_publish'", "'@sse_subscribe'", "E'HTTP GET\\n@authorise'"] {
            comment(&mut session, bracketed)?;
            let plans = plans(&mut session)?;
            ensure!(plans[0].contains("bigs") && plans[1].contains("twice("), "{bracketed}: {plans:?}");
        }
    }
    Ok(())
}

#[test]
fn a_plan_that_was_made_with_the_body_is_made_anew_when_the_function_becomes_a_publisher() -> Result<()> {
    let corner = Corner::new("replanned")?;
    corner.announcer("says", "")?;
    corner.announcer("own", "@sse")?;
    corner.sql(
        "create function calls(m text) returns void language sql as $f$ select says(m) $f$;
         comment on function calls(text) is 'HTTP POST'",
    )?;
    let mut stream = corner.stream("own/info")?;
    let mut session = corner.session()?;
    session.run("prepare p as select calls('x' || n) from generate_series(1, 2) n; execute p; execute p; execute p; execute p; execute p; execute p")?.ok()?;
    session.run("comment on function calls(text) is '@sse'; execute p")?.ok()?;
    assert_eq!(stream.next_data(2, SOON)?, ["x1", "x2"]);
    session.run("comment on function calls(text) is 'HTTP POST'; execute p; select own('end')")?.ok()?;
    assert_eq!(stream.next_payload(SOON)?.data, "end");
    Ok(())
}
