//! Who steers the system clock, by the names of the processes that run.

use std::fs;
use std::path::Path;
use std::time::Duration;

use timebase::Discipliner;

/// Daemons come and go rarely, and a look costs one small read per process.
pub const LOOK_EVERY: Duration = Duration::from_secs(60);

/// The kernel cuts process names at 15 bytes. The first found here wins: phc2sys steers the system
/// clock wherever it runs, and a daemon that serves beside it does not.
const DAEMONS: [(&str, Discipliner); 7] = [
    ("phc2sys", Discipliner::Ptp4l),
    ("chronyd", Discipliner::Chronyd),
    ("systemd-timesyn", Discipliner::Timesyncd),
    ("ntp-daemon", Discipliner::NtpdRs),
    ("ntpd", Discipliner::Ntpd),
    ("ntpsec", Discipliner::Ntpd),
    ("ptp4l", Discipliner::Ptp4l),
];

/// Looks through `/proc`.
pub fn find() -> Discipliner {
    find_in(Path::new("/proc"))
}

fn find_in(proc: &Path) -> Discipliner {
    let running: Vec<String> = fs::read_dir(proc)
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| entry.file_name().as_encoded_bytes().iter().all(u8::is_ascii_digit))
        .filter(|entry| !leaves_the_clock_alone(&entry.path()))
        .filter_map(|entry| fs::read_to_string(entry.path().join("comm")).ok())
        .collect();
    let runs = |name: &str| running.iter().any(|comm| comm.trim_end() == name);
    DAEMONS
        .into_iter()
        .find(|(name, _)| runs(name))
        .map_or(Discipliner::None, |(_, discipliner)| discipliner)
}

/// Whether this is a chronyd that was told not to touch the clock: it serves only.
fn leaves_the_clock_alone(process: &Path) -> bool {
    let Ok(command) = fs::read(process.join("cmdline")) else { return false };
    let mut words = command.split(|byte| *byte == 0);
    words.next().is_some_and(|program| program.ends_with(b"chronyd")) && words.any(|w| w == b"-x")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Proves that daemons are recognised by their cut-off kernel names, and that others, and those that
    /// leave the clock alone, are not.
    #[test]
    fn daemons_are_recognised() {
        let proc = std::env::temp_dir().join(format!("truechimer-proc-{}", std::process::id()));
        let put = |pid: &str, comm: &str| {
            fs::create_dir_all(proc.join(pid)).unwrap();
            fs::write(proc.join(pid).join("comm"), comm).unwrap();
        };
        put("1", "systemd\n");
        put("not-a-pid", "chronyd\n");
        assert_eq!(find_in(&proc), Discipliner::None);
        put("50", "chronyd\n");
        fs::write(proc.join("50/cmdline"), "/usr/sbin/chronyd\0-x\0-d\0").unwrap();
        assert_eq!(find_in(&proc), Discipliner::None);
        put("77", "systemd-timesyn\n");
        assert_eq!(find_in(&proc), Discipliner::Timesyncd);
        put("78", "phc2sys\n");
        assert_eq!(find_in(&proc), Discipliner::Ptp4l);
        fs::remove_dir_all(&proc).unwrap();
    }
}
