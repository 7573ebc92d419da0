//! Refuses to build without the browser libraries, and says how to get them.

use std::path::Path;

const VENDORED: [&str; 2] = ["static/vendor/uPlot.iife.min.js", "static/vendor/uPlot.min.css"];

fn main() {
    println!("cargo::rerun-if-changed=static");
    println!("cargo::rerun-if-changed=templates");
    for file in VENDORED {
        if !Path::new(file).exists() {
            println!(
                "cargo::error=web/{file} is missing: fetch it with `./run assets` (needs npm)"
            );
        }
    }
}
