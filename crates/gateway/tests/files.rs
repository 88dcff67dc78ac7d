//! Files of `sse.static_root`: which are served, and which never (C8.1).
#![allow(clippy::unwrap_used)]

mod support;

use std::os::unix::fs::symlink;

use sse_gateway::{Config, Settings};
use support::peer::{ask, get};
use support::{TestGateway, config, eventually, folder, settings};

fn with_root(root: &std::path::Path, data: Option<&std::path::Path>) -> TestGateway {
    let config = Config { data_directory: data.map(Into::into), ..config() };
    TestGateway::configured(config, Settings { static_root: Some(root.into()), ..settings() })
}

#[test]
fn files_are_served_whole_with_their_type() {
    let (_guard, root) = folder();
    let large: Vec<u8> = (0..300_000u32).map(|n| n as u8).collect();
    std::fs::write(root.join("index.html"), "<p>hello").unwrap();
    std::fs::write(root.join("a b.js"), "x").unwrap();
    std::fs::create_dir(root.join("sub")).unwrap();
    std::fs::write(root.join("sub/large.bin"), &large).unwrap();
    std::fs::write(root.join("empty.txt"), "").unwrap();
    let gateway = with_root(&root, None);
    for (path, kind, body) in [
        ("/", "text/html; charset=utf-8", &b"<p>hello"[..]),
        ("/index.html?x=y", "text/html; charset=utf-8", b"<p>hello"),
        ("/a%20b.js", "text/javascript; charset=utf-8", b"x"),
        ("/sub/large.bin", "application/octet-stream", &large),
        ("/empty.txt", "text/plain; charset=utf-8", b""),
    ] {
        let answer = get(gateway.port(), path);
        assert_eq!((answer.head.status, answer.head.header("content-type")), (200, kind), "{path}");
        assert_eq!(answer.head.header("x-content-type-options"), "nosniff");
        assert!(answer.body == body, "{path}");
        let head = ask(gateway.port(), &format!("HEAD {path} HTTP/1.1\r\nHost: localhost\r\n\r\n"));
        assert_eq!(head.head.header("content-length"), body.len().to_string());
    }
    ask(gateway.port(), "POST /index.html HTTP/1.1\r\nHost: localhost\r\n\r\n").problem(405);
}

// Path traversal by text, encoded once and twice, and by links, and what a folder holds by accident.
#[test]
fn only_visible_files_below_the_folder_are_served() {
    let (_guard, base) = folder();
    let root = base.join("root");
    std::fs::create_dir_all(root.join("sub")).unwrap();
    std::fs::create_dir_all(root.join(".git")).unwrap();
    for (path, text) in
        [("secret", "s"), ("root/.env", "s"), ("root/.git/config", "s"), ("root/sub/ok", "ok")]
    {
        std::fs::write(base.join(path), text).unwrap();
    }
    symlink(base.join("secret"), root.join("out")).unwrap();
    symlink(root.join(".env"), root.join("env")).unwrap();
    symlink(&base, root.join("up")).unwrap();
    symlink(root.join("sub/ok"), root.join("inside")).unwrap();
    symlink("loop", root.join("loop")).unwrap();
    symlink("/dev/zero", root.join("zero")).unwrap();
    let gateway = with_root(&root, None);
    for path in [
        "/../secret",
        "/%2e%2e/secret",
        "/sub/../../secret",
        "/.%2e/secret",
        "/%2E%2E%2Fsecret",
        "/..%2fsecret",
        "/%252e%252e/secret",
        "/sub%2Fok",
        "/sub/ok%00",
        "/.env",
        "/%2eenv",
        "/.git/config",
        "/out",
        "/env",
        "/up/secret",
        "/.",
        "/...",
        "/sub",
        "/sub/",
        "/",
        "/loop",
        "/zero",
        "/etc/passwd",
        "//etc/passwd",
        "/sub/ok/",
        "/sub//ok",
        "/%00",
        "/%ff",
    ] {
        let answer = get(gateway.port(), path);
        answer.problem(404);
        assert!(!answer.text().contains(base.to_str().unwrap()));
    }
    assert_eq!(get(gateway.port(), "/inside").text(), "ok");
    assert_eq!(get(gateway.port(), "/sub/ok").text(), "ok");
}

#[test]
fn a_folder_inside_or_above_the_data_directory_is_refused() {
    let (_guard, base) = folder();
    let data = base.join("data");
    std::fs::create_dir_all(data.join("www")).unwrap();
    std::fs::create_dir_all(base.join("www")).unwrap();
    symlink(data.join("www"), base.join("link")).unwrap();
    for folder in [&base, &data, &data.join("www"), &base.join("www")] {
        std::fs::write(folder.join("x.txt"), "x").unwrap();
    }
    for (root, status) in
        [("", 404), ("data", 404), ("data/www", 404), ("link", 404), ("www", 200), ("missing", 404)]
    {
        let gateway = with_root(&base.join(root), Some(&data));
        assert_eq!(get(gateway.port(), "/x.txt").head.status, status, "{root:?}");
        eventually("said", || {
            gateway.log().iter().any(|line| line.contains("sse.static_root")) == (status == 404)
        });
    }
}
