//! The Prometheus exporter: a recorder, the page it makes, and the server that hands the page out.

mod body;
mod exposition;
mod live;
mod negotiation;
mod page;
mod series;
mod server;

pub use live::Live;
pub use negotiation::{Encoding, Format};
pub use page::{Page, PageBuilder, PageRecorder};
pub use server::{Server, Site, StaticFile};
