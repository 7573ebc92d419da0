//! Who steers the system clock, by the names of the processes that run.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

use timebase::Discipliner;

/// Daemons come and go rarely, and a look costs one small read per process.
pub const LOOK_EVERY: Duration = Duration::from_secs(60);

/// The kernel cuts process names at so many bytes.
const LONGEST_NAME: usize = 15;

/// By their names as the kernel cuts them. The first found here wins: phc2sys steers the system
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

/// CAP_SYS_TIME in a set of capabilities.
const SYS_TIME: u64 = 1 << 25;

/// Looks through `/proc`.
pub fn find() -> Discipliner {
    find_in(Path::new("/proc"))
}

fn find_in(proc: &Path) -> Discipliner {
    let first = fs::read_dir(proc)
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| entry.file_name().as_encoded_bytes().iter().all(u8::is_ascii_digit))
        .filter_map(|entry| place(&entry.path()))
        .min();
    first.map_or(Discipliner::None, |place| DAEMONS[place].1)
}

/// The place among the daemons of a process that is one of them and may steer the clock. Its name is
/// looked at first: most processes are none, and what else is said of them costs more to read.
fn place(process: &Path) -> Option<usize> {
    let mut comm = [0; 2 * LONGEST_NAME];
    let length = File::open(process.join("comm")).ok()?.read(&mut comm).ok()?;
    let name = comm[..length].trim_ascii_end();
    let place = DAEMONS.iter().position(|(daemon, _)| daemon.as_bytes() == name)?;
    (!leaves_the_clock_alone(process)).then_some(place)
}

/// Whether the process may not set the clock, or was told not to: a chronyd that serves only, a ptp4l
/// that steers the clock of the network card.
fn leaves_the_clock_alone(process: &Path) -> bool {
    if lacks_sys_time(process) {
        return true;
    }
    let Ok(command) = fs::read(process.join("cmdline")) else { return false };
    let words: Vec<&[u8]> = command.split(|byte| *byte == 0).collect();
    let Some((program, arguments)) = words.split_first() else { return false };
    let given = |word: &str| arguments.contains(&word.as_bytes());
    if program.ends_with(b"ptp4l") {
        // Software time stamps are what makes it steer the system clock.
        return !given("-S") && !given("--time_stamping=software") && !software_stamps(arguments);
    }
    program.ends_with(b"chronyd") && given("-x")
}

/// Whether a configuration file of ptp4l asks for software time stamps.
fn software_stamps(arguments: &[&[u8]]) -> bool {
    let files = arguments.windows(2).filter(|pair| pair[0] == b"-f").map(|pair| pair[1]);
    files.map(|file| Path::new(OsStr::from_bytes(file))).any(|file| {
        let text = fs::read_to_string(file).unwrap_or_default();
        text.lines().any(|line| {
            let mut words = line.split_whitespace();
            words.next() == Some("time_stamping") && words.next() == Some("software")
        })
    })
}

/// Whether the process is known to lack CAP_SYS_TIME.
fn lacks_sys_time(process: &Path) -> bool {
    let Ok(status) = fs::read_to_string(process.join("status")) else { return false };
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let bits = effective.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok());
    bits.is_some_and(|bits| bits & SYS_TIME == 0)
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
        put("51", "ntpd\n");
        let bounded = "Name:\tntpd\nCapEff:\t000001fffdffffff\n";
        fs::write(proc.join("51/status"), bounded).unwrap();
        assert_eq!(find_in(&proc), Discipliner::None, "one that may not set the clock");
        put("52", "ptp4l\n");
        fs::write(proc.join("52/cmdline"), "/usr/sbin/ptp4l\0-i\0eth0\0").unwrap();
        assert_eq!(find_in(&proc), Discipliner::None, "one that steers the card's clock");
        fs::write(proc.join("52/cmdline"), "/usr/sbin/ptp4l\0-S\0-i\0eth0\0").unwrap();
        assert_eq!(find_in(&proc), Discipliner::Ptp4l);
        fs::remove_dir_all(proc.join("52")).unwrap();
        put("77", "systemd-timesyn\n");
        assert_eq!(find_in(&proc), Discipliner::Timesyncd);
        put("78", "phc2sys\n");
        assert_eq!(find_in(&proc), Discipliner::Ptp4l);
        fs::remove_dir_all(&proc).unwrap();
    }
}
