//! The Prometheus exporter: a recorder, the page it makes, and the server that hands the page out.

mod body;
mod connections;
mod conversation;
mod exposition;
mod host;
mod live;
mod negotiation;
mod page;
mod program;
mod series;
mod server;
mod wire;

pub use live::Live;
pub use negotiation::{Encoding, Format};
pub use page::{Page, PageBuilder, PageRecorder};
pub use server::{Server, Site, StaticFile};
