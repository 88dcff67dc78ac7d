//! The inspector's page as it is served (C8.2): four files that need no token, hold no data and ask nobody
//! else for anything.
//!
//! Not for what the page does in a browser: `inspector.rs`.

mod common;

use anyhow::{Context, Result, ensure};
use cluster::http::Request;
use cluster::{Builder, Cluster};
use common::admin::open;
use common::is_problem;

const FILES: [(&str, &str); 4] = [
    ("/", "text/html; charset=utf-8"),
    ("/inspector.js", "text/javascript; charset=utf-8"),
    ("/inspector.css", "text/css; charset=utf-8"),
    ("/inspector.svg", "image/svg+xml"),
];

// Attacks: a text that the server shows is HTML or a script; another page draws the inspector within itself.
#[test]
fn the_page_is_served_without_a_token_and_may_do_nothing_but_ask_this_port() -> Result<()> {
    let admin = open(Cluster::builder(), Builder::start)?;
    for (path, content_type) in FILES {
        let answer = admin.http.get(path)?;
        assert_eq!(answer.status(), 200, "{path}");
        assert_eq!(answer.header("content-type"), Some(content_type), "{path}");
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{path}");
        assert_eq!(answer.header("referrer-policy"), Some("no-referrer"), "{path}");
        assert_eq!(answer.header("cache-control"), Some("no-store"), "{path}");
        assert_eq!(answer.header("access-control-allow-origin"), None, "{path}");
        let policy = answer.header("content-security-policy").context("no policy")?;
        let rules: Vec<&str> = policy.split(';').map(str::trim).collect();
        for rule in ["default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'none'"]
        {
            ensure!(rules.contains(&rule), "{path}: {rule} is missing in {policy}");
        }
        for rule in rules {
            let sources: Vec<&str> = rule.split(' ').skip(1).collect();
            let is_narrow = sources.iter().all(|source| matches!(*source, "'none'" | "'self'" | "'script'"));
            ensure!(is_narrow, "{path}: {rule}");
        }
        // What it is asked for with makes no difference: a cache, a query, a token that is wrong.
        assert_eq!(admin.http.get(&format!("{path}?x=1"))?.text(), answer.text(), "{path}");
        let wrong = admin.http.request(&Request::get(path).bearer("not the token of this"))?;
        assert_eq!((wrong.status(), wrong.text()), (200, answer.text()), "{path}");
        let head = admin.http.request(&Request::new("HEAD", path))?;
        ensure!(head.status() == 200 && head.text().is_empty(), "{path}: {:?}", head.head);
        for method in ["POST", "PUT", "DELETE", "OPTIONS"] {
            is_problem(&admin.http.request(&Request::new(method, path))?, 405, path)?;
        }
    }
    Ok(())
}

#[test]
fn the_page_holds_nothing_of_the_server_and_names_no_other_place() -> Result<()> {
    let admin = open(Cluster::builder(), Builder::start)?;
    admin.cluster.sql("create procedure a_secret_routine() language plpgsql as 'begin end'")?;
    admin.cluster.sql("comment on procedure a_secret_routine is '@sse'")?;
    for (path, _) in FILES {
        let text = admin.http.get(path)?.text();
        for word in ["a_secret_routine", "a-secret-routine", "the token of this test"] {
            ensure!(!text.contains(word), "{path} has {word}");
        }
        // An address of the page's own, in what it advises, is none that a browser would ask.
        let elsewhere = text.replace("http://localhost:", "").replace("http://www.w3.org/2000/svg", "");
        for word in ["http://", "https://", "//cdn", "@import", "url(", "innerHTML", "eval("] {
            ensure!(!elsewhere.contains(word), "{path} has {word}");
        }
    }
    Ok(())
}
