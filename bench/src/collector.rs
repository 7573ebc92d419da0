//! A collector with its own Postgres.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

const READY_WITHIN: Duration = Duration::from_secs(60);
const STOP_WITHIN: Duration = Duration::from_secs(60);
const LOG: &str = "[log]\nfilter = \"warn,collector::app=info\"\n";

/// A running collector; stopped when dropped, and its Postgres with it.
#[derive(Debug)]
pub(crate) struct Collector {
    program: PathBuf,
    pub(crate) data: PathBuf,
    /// Where agents connect.
    pub(crate) address: String,
    /// Where people connect.
    pub(crate) web: String,
    child: Child,
}

impl Collector {
    /// Starts it in a folder, with these settings besides those as installed, and waits until it is ready.
    pub(crate) fn start(program: &Path, data: &Path, roles: &str, settings: &str) -> Result<Self> {
        fs::create_dir_all(data)?;
        let (configuration, log) = (data.join("collector.toml"), data.join("collector.log"));
        fs::write(&configuration, format!("{settings}{LOG}"))?;
        let output = File::create(&log)?;
        let [grpc, web, observe] = free_addresses()?;
        let mut command = Command::new(program);
        command.arg("serve").arg("--config").arg(&configuration).arg("--data-dir").arg(data);
        command.args(["--grpc-listen", &grpc, "--web-listen", &web, "--observe-listen", &observe]);
        command.args(["--role", roles]).stdin(Stdio::null());
        command.stdout(output.try_clone()?).stderr(output);
        let child = command.spawn().with_context(|| program.display().to_string())?;
        let address = format!("http://{grpc}");
        let mut collector =
            Self { program: program.to_owned(), data: data.to_owned(), address, web, child };
        let deadline = Instant::now() + READY_WITHIN;
        while !ready(&observe) {
            let ended = collector.child.try_wait()?;
            if ended.is_some() || Instant::now() > deadline {
                let log = fs::read_to_string(&log).unwrap_or_default();
                let lines: Vec<_> = log.lines().collect();
                let end = lines[lines.len().saturating_sub(10)..].join("\n");
                bail!("the collector did not become ready:\n{end}");
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(collector)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// How psql reaches its database.
    pub(crate) fn database_url(&self) -> Result<String> {
        let output = Command::new(&self.program)
            .arg("--data-dir")
            .arg(&self.data)
            .args(["db", "url"])
            .output()?;
        ensure!(output.status.success(), "db url: {}", String::from_utf8_lossy(&output.stderr));
        Ok(String::from_utf8(output.stdout)?.trim().to_owned())
    }

    /// Ends it in good order.
    pub(crate) fn stop(mut self) -> Result<()> {
        ensure!(self.end(), "the collector did not stop in {} s", STOP_WITHIN.as_secs());
        Ok(())
    }

    fn end(&mut self) -> bool {
        let ended = |child: &mut Child| child.try_wait().is_ok_and(|status| status.is_some());
        if ended(&mut self.child) {
            return true;
        }
        let _ = kill(Pid::from_raw(self.child.id().cast_signed()), Signal::SIGTERM);
        let deadline = Instant::now() + STOP_WITHIN;
        while Instant::now() < deadline {
            if ended(&mut self.child) {
                return true;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
        false
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.end();
    }
}

/// Three ports that nobody uses now.
fn free_addresses() -> Result<[String; 3]> {
    let bind = || TcpListener::bind("127.0.0.1:0");
    let held = [bind()?, bind()?, bind()?];
    let address = |listener: &TcpListener| listener.local_addr().map(|at| at.to_string());
    Ok([address(&held[0])?, address(&held[1])?, address(&held[2])?])
}

fn ready(observe: &str) -> bool {
    let ask = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect(observe)?;
        stream.write_all(b"GET /readyz HTTP/1.0\r\nHost: localhost\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    };
    ask().is_ok_and(|answer| answer.split_whitespace().nth(1) == Some("200"))
}
