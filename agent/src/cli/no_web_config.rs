//! A build without the feature `web-config` shows its page to everyone, and says so where it should not.

use super::Failure;
use super::options::Values;
use crate::builder::Builder;

pub(super) fn configure(builder: Builder, values: &Values) -> Result<Builder, Failure> {
    match &values.web_config {
        Some(_) => Err(Failure::Usage(
            "web-config: this build has neither TLS nor passwords (it lacks the Cargo feature web-config)".into(),
        )),
        None => Ok(builder),
    }
}
