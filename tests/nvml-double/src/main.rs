//! `nvml-record`: writes the scenario of this machine's GPUs to standard output.

use std::env;
use std::io::{self, Write as _};
use std::process::ExitCode;

use nvml_wrapper::Nvml;

mod record;

fn main() -> ExitCode {
    let library = env::args_os().nth(1).unwrap_or_else(|| "libnvidia-ml.so.1".into());
    let scenario = Nvml::builder().lib_path(&library).init().map_err(|error| {
        format!("cannot initialise {}: {error} (expected NVIDIA's management library)", library.display())
    });
    let text = scenario.and_then(|nvml| record::record(&nvml)).and_then(|scenario| scenario.to_toml());
    let result = match text {
        Ok(text) => io::stdout().write_all(text.as_bytes()).map_err(|error| error.to_string()),
        Err(error) => Err(error),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nobody is left to tell if this fails.
            let _ = writeln!(io::stderr(), "nvml-record: {error}");
            ExitCode::FAILURE
        }
    }
}
