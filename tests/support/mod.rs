//! What the tests of the real binary share.
#![allow(dead_code, unused_imports, reason = "each test binary uses its own part of it")]

pub(crate) mod agent;
pub(crate) mod attacks;
pub(crate) mod browser;
pub(crate) mod clock;
#[cfg(feature = "cloudwatch")]
pub(crate) mod cloudwatch;
pub(crate) mod compared;
pub(crate) mod container;
pub(crate) mod group;
pub(crate) mod guest;
pub(crate) mod http;
pub(crate) mod kernel;
pub(crate) mod load;
pub(crate) mod machine;
pub(crate) mod page;
pub(crate) mod procfs;
pub(crate) mod prometheus;
#[cfg(feature = "cloudwatch")]
pub(crate) mod publishing;
pub(crate) mod random;
pub(crate) mod reserved;
pub(crate) mod rootfs;
pub(crate) mod scrapes;
pub(crate) mod seccomp;
pub(crate) mod siblings;
pub(crate) mod task;
pub(crate) mod tls;
pub(crate) mod tmux;
pub(crate) mod wait;

pub(crate) use agent::Agent;
pub(crate) use page::Page;

/// A file of the project, by its path from this folder's parent.
pub(crate) fn file(path: &str) -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests").join(path)
}
