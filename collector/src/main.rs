//! `truechimer`: the server and its administration. See `truechimer --help`.

use std::process::ExitCode;

use clap::Parser;
use mimalloc::MiMalloc;

/// A report is some fifty small allocations, made on one thread and freed on another: with the system's allocator
/// they were a quarter of the processor time of ingest. Without huge pages, which would keep what a waiting agent's
/// buffers never touch.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    // Before anything can open a TLS connection; it fails only if it was done before.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let arguments = collector::cli::Arguments::parse();
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("truechimer: cannot start its threads: {error}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(collector::cli::run(arguments)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("truechimer: {error:#}");
            ExitCode::FAILURE
        }
    }
}
