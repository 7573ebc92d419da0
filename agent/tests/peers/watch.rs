//! A running agent, whose every line is looked at.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Instant;

use serde_json::Value;

use crate::support::{Folder, SOON, agent};

/// An agent that prints its views; killed when dropped.
pub(crate) struct Watch {
    child: Child,
    views: Receiver<Value>,
    log: PathBuf,
}

impl Watch {
    /// The agent with the `[[ntp.server]]` tables of `servers`.
    pub(crate) fn start(folder: &Folder, servers: &str) -> Self {
        Self::wrapped(folder, servers, |agent| agent)
    }

    /// The same, started by another command.
    pub(crate) fn wrapped(
        folder: &Folder,
        servers: &str,
        wrap: impl FnOnce(Command) -> Command,
    ) -> Self {
        let config = folder.file("agent.toml", servers);
        let log = folder.path().join("agent.log");
        let mut command = agent();
        command
            .args(["run", "--json", "--poll", "-1", "--observe", "off", "--config"])
            .arg(config)
            .arg("--state-dir")
            .arg(folder.path().join("state"));
        let mut child = wrap(command)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(File::create(&log).unwrap())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let (sender, views) = mpsc::channel();
        thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let Ok(view) = serde_json::from_str(&line) else { continue };
                if sender.send(view).is_err() {
                    return;
                }
            }
        });
        Self { child, views, log }
    }

    /// The first view from now on that is as described. Every window until then contains the truth.
    pub(crate) fn until(&self, what: &str, is_so: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + SOON;
        let mut last = Value::Null;
        while let Some(left) = deadline.checked_duration_since(Instant::now()) {
            let Ok(view) = self.views.recv_timeout(left) else { break };
            if let (Some(lo), Some(hi)) = (view["lo"].as_f64(), view["hi"].as_f64()) {
                assert!(lo <= 0.0 && 0.0 <= hi, "a window without the truth: {view}");
            }
            if is_so(&view) {
                return view;
            }
            last = view;
        }
        panic!("{what}: not within {SOON:?}; last {last:#}\nlog:\n{}", self.log());
    }

    /// What the agent wrote to its log so far.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The source number `at` of a view.
pub(crate) fn source(view: &Value, at: usize) -> &Value {
    &view["sources"][at]
}

/// How many answers of the source were taken.
pub(crate) fn accepted(view: &Value, at: usize) -> u64 {
    source(view, at)["accepted"].as_u64().unwrap()
}
