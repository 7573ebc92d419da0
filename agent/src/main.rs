//! `truechimer-agent`: see [`agent::cli`].

use agent::cli::{self, Cli};
use anyhow::{Result, anyhow};
use clap::Parser;

fn main() -> Result<()> {
    rustls::crypto::aws_lc_rs::default_provider()
        .install_default()
        .map_err(|_| anyhow!("another TLS provider was installed first"))?;
    cli::main(Cli::parse())
}
