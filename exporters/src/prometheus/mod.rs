//! The Prometheus exporter: a recorder, the page it makes, and the server that hands the page out.

mod body;
mod connections;
mod conversation;
mod exposition;
#[cfg(all(any(test, fuzzing), feature = "cloudwatch"))]
pub(crate) mod fuzzing;
mod guard;
mod host;
mod live;
mod negotiation;
mod page;
mod program;
mod response;
mod series;
mod server;
#[cfg_attr(not(feature = "web-config"), path = "no_web_config.rs")]
pub(crate) mod web_config;
mod wire;

pub use guard::Guard;
pub use live::Live;
pub use negotiation::{Encoding, Format};
pub use page::{Page, PageBuilder, PageRecorder};
pub use server::{Server, Site, StaticFile};
#[cfg(feature = "web-config")]
pub use web_config::Validity;
pub use web_config::WebConfig;
