//! The files for those who write clients, which SQL functions make and `sse.serve_client` serves (C7.7,
//! C7.10).
//!
//! Not for what is in them (`sse_client`).

/// See the head of this file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientFile {
    /// The client in TypeScript.
    TypeScript,
    /// The OpenAPI document.
    OpenApi,
    /// The AsyncAPI document.
    AsyncApi,
}

impl ClientFile {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::TypeScript, Self::OpenApi, Self::AsyncApi];

    /// Its name below the URL prefix.
    pub const fn name(self) -> &'static str {
        match self {
            Self::TypeScript => "client.ts",
            Self::OpenApi => "openapi.json",
            Self::AsyncApi => "asyncapi.json",
        }
    }

    /// The function in schema `sse` that makes it.
    pub const fn function(self) -> &'static str {
        match self {
            Self::TypeScript => "typescript_client",
            Self::OpenApi => "openapi",
            Self::AsyncApi => "asyncapi",
        }
    }

    /// Which of them is at a path below a prefix.
    pub fn at(prefix: &str, path: &str) -> Option<Self> {
        let name = path.strip_prefix(prefix)?.strip_prefix('/')?;
        Self::ALL.into_iter().find(|file| file.name() == name)
    }
}
