//! The web configuration, as the library takes it.

use hostgauge_exporters::prometheus::WebConfig;

use super::Failure;
use super::options::Values;
use crate::builder::Builder;

/// Puts the page behind what `--web-config` says. A file that cannot be used is refused before anything starts.
pub(super) fn configure(builder: Builder, values: &Values) -> Result<Builder, Failure> {
    match &values.web_config {
        Some(path) => Ok(builder.web_config(WebConfig::open(path).map_err(Failure::Usage)?)),
        None => Ok(builder),
    }
}
