//! The log: standard error, as lines for people or as JSON.

use std::io::Write as _;
use std::time::SystemTime;

use super::options::LogFormat;

/// Installs the logger. RUST_LOG says how much is logged; without it, everything from `level` on.
pub(super) fn install(format: LogFormat, level: &str) {
    let mut builder = env_logger::Builder::from_env(env_logger::Env::default().default_filter_or(level));
    builder.format(move |out, record| {
        let time = humantime::format_rfc3339_millis(SystemTime::now());
        match format {
            LogFormat::Text => writeln!(out, "{time} {:<5} {}", record.level(), record.args()),
            LogFormat::Json => {
                let line = serde_json::json!({
                    "time": time.to_string(),
                    "level": record.level().as_str(),
                    "target": record.target(),
                    "message": record.args().to_string(),
                });
                writeln!(out, "{line}")
            }
        }
    });
    // Only fails when there is a logger already.
    let _ = builder.try_init();
}
