//! `truechimer-agent`: see [`agent::cli`].

use std::process::ExitCode;

use agent::cli::{self, Cli};
use clap::Parser;

fn main() -> ExitCode {
    // Before anything can open a TLS connection; it fails only if it was done before.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    match cli::main(Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("truechimer-agent: {error:#}");
            ExitCode::FAILURE
        }
    }
}
