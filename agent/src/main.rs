//! The `hostgauge` command.

fn main() -> std::process::ExitCode {
    hostgauge::cli::main()
}
