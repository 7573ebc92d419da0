use std::path::Path;
use std::process::Command;

use anyhow::Result;
use serde_json::Value;

use crate::process::{output, tool};

/// Runs `tests/browser/<script>` in a real Chromium and gives the JSON that it prints.
///
/// `None`: this machine has no Node or no Chromium, or the driver's npm packages are not installed.
pub fn visit(script: &str, arguments: &[&str]) -> Result<Option<Value>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("browser");
    let (Some(node), Some(chromium)) =
        (tool("NODE", &["node"]), tool("CHROMIUM", &["chromium", "google-chrome"]))
    else {
        return Ok(None);
    };
    if !folder.join("node_modules").exists() {
        return Ok(None);
    }
    let mut command = Command::new(node);
    command.arg(folder.join(script)).args(arguments).env("CHROMIUM", chromium);
    Ok(Some(serde_json::from_str(&output(&mut command)?)?))
}
