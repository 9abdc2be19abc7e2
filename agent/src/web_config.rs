//! The page's web configuration, as series: whether what the files say is in force, and for how long its certificate is
//! good.

use std::time::UNIX_EPOCH;

use hostgauge_collectors::catalogue::PAGE_CERTIFICATE_EXPIRY;
use hostgauge_collectors::{CollectError, Collector, Reason, Sample};
use hostgauge_exporters::prometheus::WebConfig;

/// Fails while the files are others than those in force.
#[derive(Debug)]
pub(crate) struct InForce(WebConfig);

impl InForce {
    pub(crate) fn new(config: WebConfig) -> Self {
        config.warn_of_time();
        Self(config)
    }
}

impl Collector for InForce {
    fn name(&self) -> &'static str {
        "web_config"
    }

    fn collect(&mut self, out: &mut Vec<Sample>) -> Result<(), CollectError> {
        let end = self.0.certificate().and_then(|validity| validity.end.duration_since(UNIX_EPOCH).ok());
        out.extend(end.map(|end| Sample::new(&PAGE_CERTIFICATE_EXPIRY, end.as_secs_f64())));
        // What exactly is wrong with them stands in the log.
        if self.0.is_in_force() {
            return Ok(());
        }
        let path = self.0.path().display();
        Err(CollectError::new(Reason::Malformed, format!("web-config {path}: what it says now cannot be used")))
    }
}
