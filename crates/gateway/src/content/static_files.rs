//! The folder served at `/` (C6.8): regular files below it after resolving links, no dot files, no listings.
//!
//! Not a web server for large sites: no ranges, no compression, no conditional requests.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use http::header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, LAST_MODIFIED, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderValue, Method, Response, StatusCode};
use percent_encoding::percent_decode_str;
use tokio::fs;

use crate::between::outbox::{Outbox, Severity, escaped};
use crate::content::body::{Body, FILE_BYTES, READ_METHODS, allowed};
use crate::content::problem::Problem;
use crate::room::{ANSWER_BYTES, Room};

/// A file that may be served.
#[derive(Debug)]
pub(crate) struct StaticFile {
    path: PathBuf,
}

impl StaticFile {
    /// The file that `path` (of a request's target, still encoded) names below `root` (`sse.static_root`), if
    /// any. A root inside or above the data directory is not served, and the log says so.
    pub(crate) async fn find(
        path: &str,
        root: &Path,
        data_directory: Option<&Path>,
        outbox: &Outbox,
    ) -> Option<Self> {
        let relative = relative_path(path)?;
        let root = match fs::canonicalize(root).await {
            Ok(root) => root,
            Err(error) => {
                refuse(outbox, root, &error.to_string());
                return None;
            }
        };
        if let Some(data) = data_directory {
            let data = fs::canonicalize(data).await.unwrap_or_else(|_| data.to_owned());
            if root.starts_with(&data) || data.starts_with(&root) {
                refuse(outbox, &root, "it is inside or above the data directory");
                return None;
            }
        }
        // Links are followed, but what they lead to is judged like any other path.
        let path = fs::canonicalize(root.join(relative)).await.ok()?;
        let below = path.strip_prefix(&root).ok()?;
        let visible = below.components().all(|component| match component {
            Component::Normal(name) => !name.as_bytes().starts_with(b"."),
            _ => false,
        });
        let is_file = fs::metadata(&path).await.ok()?.is_file();
        (visible && is_file).then_some(Self { path })
    }

    /// What a request with this method gets.
    ///
    /// # Errors
    /// 404 when the file has gone or cannot be read, 503 without room for what is read of it, 405.
    pub(crate) async fn answer(self, method: &Method, mut room: Room) -> Result<Response<Body>, Problem> {
        match *method {
            Method::GET | Method::HEAD => {
                if !room.try_grow(FILE_BYTES, ANSWER_BYTES) {
                    let detail = "Too many answers are not read.";
                    return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail));
                }
                self.respond(method == Method::HEAD, room).await.ok_or_else(Problem::not_found)
            }
            Method::OPTIONS => Ok(allowed(READ_METHODS)),
            _ => Err(Problem::method_not_allowed(READ_METHODS)),
        }
    }

    /// The answer to GET, or with `head_only` to HEAD. `None` when the file has gone or cannot be read.
    async fn respond(self, head_only: bool, room: Room) -> Option<Response<Body>> {
        let file = fs::File::open(&self.path).await.ok()?;
        let metadata = file.metadata().await.ok()?;
        if !metadata.is_file() {
            return None;
        }
        let len = metadata.len();
        let body = if head_only { Body::EMPTY } else { Body::File { file, remaining: len, _room: room } };
        let mut response = Response::new(body);
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, content_type(&self.path));
        headers.insert(CONTENT_LENGTH, len.into());
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        let modified = metadata.modified().ok().map(httpdate::fmt_http_date);
        if let Some(modified) = modified.and_then(|modified| HeaderValue::from_str(&modified).ok()) {
            headers.insert(LAST_MODIFIED, modified);
        }
        Some(response)
    }
}

/// Decodes a target's path. `None` for anything that names no visible file below the root: dot files and
/// `..`, empty segments, encoded slashes, NUL.
pub(crate) fn relative_path(path: &str) -> Option<PathBuf> {
    let path = path.strip_prefix('/')?;
    if path.is_empty() {
        return Some(PathBuf::from("index.html"));
    }
    let mut relative = PathBuf::new();
    for segment in path.split('/') {
        let segment: Vec<u8> = percent_decode_str(segment).collect();
        let hidden = segment.is_empty() || segment.starts_with(b".");
        if hidden || segment.iter().any(|b| matches!(b, 0 | b'/')) {
            return None;
        }
        relative.push(OsStr::from_bytes(&segment));
    }
    Some(relative)
}

fn content_type(path: &Path) -> HeaderValue {
    let mime = mime_guess::from_path(path).first_or_octet_stream();
    let is_text = mime.type_() == mime_guess::mime::TEXT || mime == mime_guess::mime::APPLICATION_JAVASCRIPT;
    let text = if is_text { format!("{mime}; charset=utf-8") } else { mime.to_string() };
    HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static("application/octet-stream"))
}

fn refuse(outbox: &Outbox, root: &Path, reason: &str) {
    outbox.log_limited("static_root", Severity::Warning, || {
        format!("sse.static_root \"{}\" is not served: {}", escaped(&root.to_string_lossy()), escaped(reason))
    });
}
