//! Settings: refused ones, reloads, headers, and the folder of files (C1.3, C6.2, C6.8).

mod common;

use std::fs;
use std::os::unix::fs::symlink;

use anyhow::{Context, Result, ensure};
use cluster::http::Request;
use cluster::{Account, Cluster, Scratch, StopMode, wait_until};
use common::{Corner, SOON, announcer, status, wait_for_status};

#[test]
fn a_value_refused_at_start_answers_503_and_names_its_line_until_it_is_mended() -> Result<()> {
    let cluster = Cluster::builder().setting("sse.url_prefix", "no slash").start()?;
    let http = cluster.http()?;
    cluster.sql(&announcer("f", "@sse"))?;
    for (name, wrong, right) in [
        ("sse.url_prefix", "no slash", "/api"),
        ("sse.default_level", "loud", "info"),
        ("sse.retry", "-1", "2s"),
        ("sse.response_headers", "{\"Content-Type\": \"text/html\"}", ""),
    ] {
        let mut http = http;
        if name != "sse.url_prefix" {
            cluster.configure(name, wrong)?;
            cluster.restart(StopMode::Fast)?;
            http = cluster.http()?;
        }
        for path in ["/healthz", "/api/f/info", "/"] {
            assert_eq!(http.get(path)?.status(), 503, "{name} {path}");
        }
        let line = cluster
            .log()?
            .lines()
            .rfind(|line| {
                line.contains("WARNING") && line.contains(&format!("\"{name}\"")) && line.contains("line ")
            })
            .map(str::to_owned)
            .with_context(|| format!("{name} is not named"))?;
        let config = fs::read_to_string(cluster.data_dir().join("postgresql.conf"))?;
        let number = config.lines().position(|text| text.starts_with(name)).context("no such line")? + 1;
        ensure!(
            line.contains("postgresql.conf") && line.contains(&format!("line {number}")),
            "line {number}: {line}"
        );
        cluster.reconfigure(name, right)?;
        wait_for_status(http, "/healthz", 200, SOON)?;
        assert_eq!(status(http, "/api/f/info")?, 200, "{name}");
    }
    Ok(())
}

#[test]
fn a_value_refused_on_reload_leaves_the_former_one_in_force() -> Result<()> {
    let cluster = Cluster::builder().start()?;
    let http = cluster.http()?;
    cluster.sql(&announcer("f", "@sse"))?;
    let mark = cluster.log_mark()?;
    cluster.reconfigure("sse.url_prefix", "no slash")?;
    cluster.wait_for_log(mark, "sse.url_prefix")?;
    assert_eq!(status(http, "/api/f/info")?, 200);
    assert_eq!(cluster.sql("show sse.url_prefix")?, "/api");
    Ok(())
}

#[test]
fn a_setting_that_does_not_exist_is_refused() -> Result<()> {
    let reply = common::shared().session()?.run("set sse.no_such_setting = 1")?;
    ensure!(reply.error().is_some(), "the prefix is reserved");
    Ok(())
}

#[test]
fn a_reload_cuts_no_stream_and_new_streams_take_the_new_settings() -> Result<()> {
    let cluster = Cluster::builder().setting("sse.response_headers", "{\"X-One\": \"1\"}").start()?;
    let corner = Corner::of(&cluster, "reload")?;
    let mut stream = corner.announced("f", "@sse")?;
    assert_eq!(stream.head().header("x-one"), Some("1"));
    for (name, value) in [
        ("sse.response_headers", "{\"X-Two\": \"2\"}"),
        ("sse.retry", "7s"),
        ("sse.window_size", "1MB"),
        ("sse.heartbeat_interval", "1h"),
        ("sse.max_connections", "100"),
        ("sse.default_delivery", "immediate"),
    ] {
        cluster.reconfigure(name, value)?;
    }
    // The server takes one reload after the other, and may be between two of them.
    wait_until(SOON, "new streams have the new header and the new retry", || {
        corner.stream("f/info").is_ok_and(|stream| {
            let head = stream.head();
            let has_header = head.header("x-two") == Some("2") && head.header("x-one").is_none();
            has_header && stream.retry().is_some_and(|retry| retry.as_secs() == 7)
        })
    })?;
    cluster.comes_to(SOON, "new sessions have the new delivery", "show sse.default_delivery", "immediate")?;
    let mut session = corner.session()?;
    session.run("begin; select f('by the new delivery')")?.ok()?;
    assert_eq!(stream.next_payload(SOON)?.data, "by the new delivery");
    Ok(())
}

#[test]
fn the_default_level_decides_where_the_annotation_names_none() -> Result<()> {
    let cluster = Cluster::builder().setting("sse.default_level", "notice").start()?;
    cluster.sql(
        "create function f() returns void language plpgsql as $f$ begin raise info 'info'; raise notice 'notice'; end $f$;
         comment on function f() is '@sse'",
    )?;
    let mut stream = cluster.http()?.events("/api/f/notice")?;
    cluster.sql("select f()")?;
    assert_eq!(stream.next_payload(SOON)?.data, "notice");
    Ok(())
}

#[test]
fn a_name_in_server_names_is_answered_after_a_reload() -> Result<()> {
    let cluster = Cluster::builder().start()?;
    let http = cluster.http()?;
    let request = Request::get("/healthz").header("Host", "app.example");
    assert_eq!(http.request(&request)?.status(), 421);
    cluster.reconfigure("sse.server_names", "other.example, App.Example")?;
    wait_until(SOON, "the name is answered", || {
        http.request(&request).is_ok_and(|answer| answer.status() == 200)
    })
}

#[test]
fn a_gateway_on_every_address_answers_to_every_name() -> Result<()> {
    let cluster = Cluster::builder().setting("sse.listen_addresses", "*").start()?;
    let request = Request::get("/healthz").header("Host", "whatever.example");
    let http = cluster.http()?;
    assert_eq!(http.request(&request)?.status(), 200);
    let port = http.address().port();
    if let Ok(address) = format!("[::1]:{port}").parse()
        && std::net::TcpListener::bind("[::1]:0").is_ok()
    {
        assert_eq!(cluster.client_at(address).get("/healthz")?.status(), 200, "IPv6 too, on the same port");
    }
    Ok(())
}

#[test]
fn streams_win_over_files_and_the_root_changes_on_reload() -> Result<()> {
    let site = Scratch::create(&Account::for_servers()?)?;
    fs::create_dir_all(site.path().join("api/f"))?;
    fs::write(site.path().join("api/f/info"), "a file")?;
    fs::write(site.path().join("index.html"), "x")?;
    let cluster = Cluster::builder().start()?;
    let http = cluster.http()?;
    cluster.sql(&announcer("f", "@sse"))?;
    assert_eq!(http.get("/")?.status(), 404);
    let mut stream = http.events("/api/f/info")?;
    cluster.reconfigure("sse.static_root", &site.path().display().to_string())?;
    wait_for_status(http, "/", 200, SOON)?;
    http.events("/api/f/info")?;
    cluster.reconfigure("sse.static_root", "/no/such/folder")?;
    wait_for_status(http, "/", 404, SOON)?;
    ensure!(cluster.log()?.contains("sse.static_root"), "the log names the setting");
    cluster.sql("select f('x')")?;
    assert_eq!(stream.next_payload(SOON)?.data, "x");
    Ok(())
}

// Attack: a static root that shows the database's own files.
#[test]
fn the_data_directory_is_never_served() -> Result<()> {
    let cluster = Cluster::builder().start()?;
    let http = cluster.http()?;
    let data = cluster.data_dir();
    let link = Scratch::create(&Account::for_servers()?)?;
    symlink(&data, link.path().join("root"))?;
    symlink(data.join("PG_VERSION"), link.path().join("version"))?;
    for (root, path) in [
        (data.clone(), "/PG_VERSION"),
        (data.join("base"), "/1/PG_VERSION"),
        (cluster.home().to_owned(), "/data/PG_VERSION"),
        ("/".into(), &*format!("{}/PG_VERSION", data.display())),
        (link.path().join("root"), "/PG_VERSION"),
        (link.path().to_owned(), "/version"),
    ] {
        cluster.configure("sse.static_root", &root.display().to_string())?;
        // The header tells that this reload has been taken in.
        let mark = root.display().to_string().len().to_string();
        cluster.configure("sse.response_headers", &format!("{{\"X-Mark\": \"{mark}\"}}"))?;
        cluster.sql(&format!("drop function if exists f(text); {}", announcer("f", "@sse")))?;
        cluster.reload()?;
        wait_until(SOON, "the reload is taken in", || {
            http.request(&Request::new("HEAD", "/api/f/info"))
                .is_ok_and(|answer| answer.header("x-mark") == Some(&mark))
        })?;
        assert_eq!(http.get(path)?.status(), 404, "{} {path}", root.display());
    }
    Ok(())
}
