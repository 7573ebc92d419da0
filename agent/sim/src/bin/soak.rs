//! Lives through random worlds for a given time, and keeps the seed of each that breaks.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use agent_sim::soak;

const USAGE: &str = "usage: soak [--for TIME] [--seed FIRST]
  --for TIME     how long: \"90 s\", \"5 min\", \"2 h\" (default: 1 min)
  --seed FIRST   the first seed; the next is one more (default: any)
  --only SEED    that world alone";
/// Where the seeds of broken worlds are kept, for the tests to replay.
const SEEDS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/seeds");
/// Time between words of progress.
const PROGRESS: Duration = Duration::from_secs(10);

struct Args {
    length: Duration,
    first: u64,
    only: bool,
}

fn main() -> ExitCode {
    let Some(args) = parse(std::env::args().skip(1)) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    if args.only {
        println!("{:#?}", soak::world(args.first).config);
    }
    let begun = Instant::now();
    let (mut spoke, mut worlds, mut broken, mut hours) = (begun, 0u64, 0, 0.0);
    for seed in args.first.. {
        match soak::run(seed) {
            Ok(length) => hours += length.as_secs_f64() / 3600.0,
            Err(what) => {
                broken += 1;
                println!("{seed}: {what}");
                if !args.only
                    && let Err(error) = keep(seed, &what)
                {
                    eprintln!("the seed could not be kept: {error}");
                }
            }
        }
        worlds += 1;
        let took = begun.elapsed();
        if spoke.elapsed() > PROGRESS {
            spoke = Instant::now();
            eprintln!(
                "{worlds} worlds, {hours:.0} virtual hours in {} s, {broken} broken",
                took.as_secs()
            );
        }
        if args.only || took >= args.length {
            break;
        }
    }
    let rate = hours / begun.elapsed().as_secs_f64();
    println!(
        "{worlds} worlds from seed {}, {hours:.0} virtual hours at {rate:.0} a second: {broken} broken",
        args.first
    );
    if broken == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn parse(mut args: impl Iterator<Item = String>) -> Option<Args> {
    let mut parsed = Args { length: Duration::from_secs(60), first: any_seed(), only: false };
    while let Some(word) = args.next() {
        let value = args.next()?;
        match word.as_str() {
            "--for" => parsed.length = duration(&value)?,
            "--seed" => parsed.first = value.parse().ok()?,
            "--only" => (parsed.first, parsed.only) = (value.parse().ok()?, true),
            _ => return None,
        }
    }
    Some(parsed)
}

fn duration(text: &str) -> Option<Duration> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let seconds = match unit.trim() {
        "" | "s" => 1,
        "m" | "min" => 60,
        "h" => 3600,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(seconds).map(Duration::from_secs)
}

/// Another one in every run, and short enough to be typed.
fn any_seed() -> u64 {
    RandomState::new().build_hasher().finish() % 1_000_000 * 1000
}

fn keep(seed: u64, what: &str) -> std::io::Result<()> {
    std::fs::create_dir_all(SEEDS)?;
    std::fs::write(Path::new(SEEDS).join(format!("{seed}.txt")), format!("{seed} {what}\n"))
}
