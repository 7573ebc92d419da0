//! A host's clocks, second by second, and what its agent would report of them: honest, and as narrow as honesty allows.

use std::fmt::Write;

/// Noon in the middle of a month: no leap second is near.
pub(crate) const NOON_NS: i64 = 1_789_560_000_000_000_000;
const SECOND: i64 = 1_000_000_000;
const DAY: i64 = 86_400 * SECOND;
/// A hardware clock that shows local time.
const HOURS: i64 = 8 * 3_600 * SECOND;

/// Splitmix64: the same everywhere.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// In `[lo, hi]`.
    pub(crate) fn within(&mut self, lo: i64, hi: i64) -> i64 {
        lo + (self.next() % (hi - lo + 1).unsigned_abs()).cast_signed()
    }

    pub(crate) fn one_in(&mut self, n: i64) -> bool {
        self.within(1, n) == 1
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[(self.next() % from.len() as u64) as usize]
    }
}

/// What holds from one true second to the next.
#[derive(Clone, Copy)]
struct Tick {
    utc: i64,
    /// Readings at its beginning, less `utc`: where it was set to, and what it gained since.
    raw_set: i64,
    raw: f64,
    host_set: i64,
    host: f64,
    /// What each gains per second of UTC, as a fraction.
    raw_rate: f64,
    host_rate: f64,
    oscillator: f64,
    boot: i32,
    steps: i32,
    /// Off, or asleep: nobody reads the clock.
    off: bool,
}

struct Sample {
    utc: i64,
    ref_time: i64,
    /// Whether the collector is sure of that: it went by the age.
    by_age: Option<bool>,
    seq: i64,
    host: i64,
    raw: i64,
    bounds: Option<(i64, i64)>,
    frequency: i64,
    margin: Option<i64>,
    stray: Option<i64>,
    boot: i32,
    steps: i32,
    events: Vec<&'static str>,
}

/// A moment of which the truth is known.
#[derive(Clone, Copy)]
pub(crate) struct Moment {
    pub(crate) utc: i64,
    pub(crate) local: i64,
}

pub(crate) struct History {
    pub(crate) name: String,
    ticks: Vec<Tick>,
    samples: Vec<Sample>,
}

impl History {
    /// Half an hour or so with all that can happen to a clock.
    pub(crate) fn eventful(seed: u64) -> Self {
        Self::filed(seed, false)
    }

    /// The same, and the agent is cut off from the collector now and then: what it tells comes late, after a reboot too.
    pub(crate) fn cut_off(seed: u64) -> Self {
        Self::filed(seed, true)
    }

    fn filed(seed: u64, cut_off: bool) -> Self {
        let mut random = Random(seed);
        // An agent that tells less.
        let old = random.one_in(4);
        let ticks = run(&mut random, old, cut_off);
        let mut samples = report(&ticks, &mut random, old, cut_off);
        misfile(&mut samples, ticks[ticks.len() - 1].boot, &mut random);
        if cut_off {
            file_late(&mut samples, &ticks, &mut random);
        }
        lose(&mut samples, &mut random);
        Self { name: format!("host-{seed}"), ticks, samples }
    }

    /// A minute around noon of a clock that is so far ahead and runs straight: a report every 10 s.
    pub(crate) fn steady(name: &str, error: i64) -> Self {
        let sample = |n: i64| {
            let utc = NOON_NS + (n * 10 - 45) * SECOND;
            Sample {
                utc,
                ref_time: utc,
                by_age: Some(true),
                seq: n,
                host: utc + error,
                raw: n * 10 * SECOND,
                bounds: Some((error - 500_000, error + 500_000)),
                frequency: 0,
                margin: Some(1_000),
                stray: (n > 1).then_some(500),
                boot: 1,
                steps: 0,
                events: Vec::new(),
            }
        };
        Self { name: name.to_owned(), ticks: Vec::new(), samples: (1..=8).map(sample).collect() }
    }

    /// A host that has not reported yet.
    pub(crate) fn silent(name: &str) -> Self {
        Self { name: name.to_owned(), ticks: Vec::new(), samples: Vec::new() }
    }

    /// What the clock shows at some moment at which somebody could have read it, and of which a report could
    /// tell: not in a clock epoch that ended before its first report, nor after a sleep of which none tells.
    pub(crate) fn moment(&self, random: &mut Random) -> Moment {
        loop {
            let tick = random.pick(&self.ticks);
            if !tick.off && self.told(&tick) {
                return at(&tick, random.within(0, SECOND - 1));
            }
        }
    }

    /// Whether there is such a moment.
    pub(crate) fn tells(&self) -> bool {
        self.ticks.iter().any(|tick| !tick.off && self.told(tick))
    }

    fn told(&self, tick: &Tick) -> bool {
        let of_epoch = |s: &&Sample| (s.boot, s.steps) == (tick.boot, tick.steps);
        let last = self.samples.iter().rfind(|s| s.boot == tick.boot);
        let slept = |t: &&Tick| t.off && t.boot == tick.boot && last.is_some_and(|l| t.utc > l.utc);
        self.samples.iter().any(|s| of_epoch(&s))
            && self.ticks.iter().find(slept).is_none_or(|t| t.utc > tick.utc)
    }

    /// How far ahead the clock is at a moment of UTC; `None`: it is off, or nobody can tell.
    pub(crate) fn error_at(&self, utc: i64) -> Option<i64> {
        let n = usize::try_from((utc - self.ticks[0].utc).div_euclid(SECOND)).ok()?;
        let tick = self.ticks.get(n).filter(|tick| !tick.off && self.told(tick))?;
        Some(at(tick, utc - tick.utc).local - utc)
    }

    /// Rows for COPY: samples and events.
    pub(crate) fn write(&self, host: usize, samples: &mut String, events: &mut String) {
        let or_null = |value: Option<i64>| value.map_or("\\N".to_owned(), |v| v.to_string());
        for s in &self.samples {
            let (lo, hi) = (or_null(s.bounds.map(|b| b.0)), or_null(s.bounds.map(|b| b.1)));
            let time = timestamp(s.ref_time);
            let (stray, margin) = (or_null(s.stray), or_null(s.margin));
            let by_age = s.by_age.map_or("\\N", |sure| if sure { "t" } else { "f" });
            writeln!(
                samples,
                "{host}\t{time}\t{}\t{}\t{}\t{lo}\t{hi}\t{}\t{}\t{}\t{stray}\t{margin}\t1\t1\t{by_age}",
                s.seq, s.host, s.raw, s.frequency, s.boot, s.steps
            )
            .unwrap();
            for (place, kind) in s.events.iter().enumerate() {
                let (boot, seq, clock, raw) = (s.boot, s.seq, s.host, s.raw);
                writeln!(
                    events,
                    "{host}\t{boot}\t{seq}\t{place}\t{time}\t{clock}\t{raw}\t{kind}\t{kind}"
                )
                .unwrap();
            }
        }
    }
}

fn timestamp(ns: i64) -> String {
    let (s, us) = (ns.div_euclid(SECOND), ns.rem_euclid(SECOND) / 1000);
    let day = |s: i64| s.div_euclid(86_400) - 20_454; // since 2026-01-01
    let (days, rest) = (day(s), s.rem_euclid(86_400));
    let mut date = (1, days + 1);
    for length in [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
        if date.1 <= length {
            break;
        }
        date = (date.0 + 1, date.1 - length);
    }
    let (h, m, s) = (rest / 3600, rest / 60 % 60, rest % 60);
    format!("2026-{:02}-{:02} {h:02}:{m:02}:{s:02}.{us:06}+00", date.0, date.1)
}

fn at(tick: &Tick, ns: i64) -> Moment {
    let host = tick.host + tick.host_rate * ns as f64;
    Moment { utc: tick.utc + ns, local: tick.utc + ns + tick.host_set + host.round() as i64 }
}

/// The clocks: an oscillator that wanders, steering of every kind, steps, reboots and sleep, which an old
/// agent does not count as steps.
fn run(random: &mut Random, old: bool, troubled: bool) -> Vec<Tick> {
    let utc = NOON_NS + random.within(0, 3_600) * SECOND;
    let base = random.within(-45_000, 45_000) as f64 * 1e-9;
    let mut tick = Tick {
        utc,
        raw_set: random.within(10, 1_000_000) * SECOND - utc,
        raw: 0.0,
        host_set: random.within(-50_000_000, 50_000_000),
        host: 0.0,
        raw_rate: 0.0,
        host_rate: 0.0,
        oscillator: base,
        boot: 1,
        steps: 0,
        off: false,
    };
    let (steering, busy) = (
        random.within(0, 4),
        random.pick(if troubled { &[40, 100] } else { &[40, 200, 3000, 3000] }),
    );
    let (mut slew, mut left, mut asleep) = (0.0, 0, 0);
    let mut ticks = Vec::new();
    for second in 0..random.within(600, 2400) {
        // It strays less than 1 ppm in an hour, bit by bit or at once.
        let strayed = tick.oscillator + random.within(-40, 40) as f64 * 1e-9;
        tick.oscillator = strayed.clamp(base - 4e-7, base + 4e-7);
        match steering {
            0 => slew = -base,
            1 => {
                slew =
                    -base - ((tick.host + tick.host_set as f64) * 1e-9 / 64.0).clamp(-4e-4, 4e-4);
            }
            2 if random.one_in(7) => slew = random.within(-500_000, 500_000) as f64 * 1e-9,
            3 if left == 0 && random.one_in(20) => (slew, left) = (random.pick(&[-5e-4, 5e-4]), 8),
            // There and back, as fast as adjtime goes.
            3 if left > 0 => (slew, left) = (if left == 5 { -slew } else { slew }, left - 1),
            4 if second % 300 == 0 => slew = random.within(-1_050_000, 1_050_000) as f64 * 1e-9,
            _ => {}
        }
        if asleep == 0 && random.one_in(busy) {
            match random.within(0, 5) {
                0 | 1 => {
                    let far = random.pick(&[
                        10_000,
                        3_000_000,
                        30_000_000,
                        SECOND,
                        60 * SECOND,
                        3_600 * SECOND,
                        3_650 * DAY,
                    ]);
                    tick.host_set += random.within(-far, far);
                    tick.steps += 1;
                }
                2 => {
                    let wrong = random.pick(if troubled {
                        &[SECOND, HOURS]
                    } else {
                        &[0, SECOND, 5 * SECOND, 600 * SECOND, HOURS]
                    });
                    (tick.boot, tick.steps, asleep) = (tick.boot + 1, 0, random.within(5, 90));
                    (tick.raw_set, tick.raw) = (3 * SECOND - tick.utc, 0.0);
                    tick.host_set += random.within(-wrong, wrong);
                }
                3 => asleep = -random.within(2, 300),
                _ => {}
            }
        }
        tick.off = asleep != 0;
        tick.raw_rate = if asleep < 0 { -1.0 } else { tick.oscillator };
        tick.host_rate =
            if asleep < 0 { 0.0 } else { (1.0 + tick.oscillator) * (1.0 + slew) - 1.0 };
        ticks.push(tick);
        tick.raw += tick.raw_rate * 1e9;
        tick.host += tick.host_rate * 1e9;
        tick.utc += SECOND;
        if asleep == -1 {
            // What it slept is known to the second or so.
            tick.host_set += random.within(-SECOND / 2, SECOND / 2);
            tick.steps += i32::from(!old);
        }
        asleep -= asleep.signum();
    }
    ticks
}

/// The agent's reports: some without a window, some of an agent that tells less.
fn report(ticks: &[Tick], random: &mut Random, old: bool, troubled: bool) -> Vec<Sample> {
    let every = random.pick(if troubled { &[10, 60] } else { &[5, 10, 10, 10, 30, 60] });
    let blind = random.pick(if troubled { &[0, 15, 3, 2] } else { &[0, 0, 15, 3] });
    let width = random.pick(&[2_000, 100_000, 1_000_000, 30_000_000]);
    let mut samples: Vec<Sample> = Vec::new();
    let (mut last, mut seq, mut slept, mut blind_for) = (None, 0, false, 0);
    for (n, tick) in ticks.iter().enumerate() {
        if n > 0 && tick.boot != ticks[n - 1].boot {
            (last, seq, slept) = (None, 0, false);
            blind_for = random.within(0, if troubled { 40 } else { 6 });
        }
        slept |= tick.off;
        if tick.off || n as i64 % every != every - 1 {
            continue;
        }
        seq += 1;
        let here = at(tick, 0);
        let raw = |tick: &Tick| tick.utc + tick.raw_set + tick.raw.round() as i64;
        let told = last.filter(|l: &usize| ticks[*l].steps == tick.steps && !slept && !old);
        let stray = told.map(|l| stray(&ticks[l..=n]));
        last = Some(n);
        if slept || blind > 0 && random.one_in(blind) {
            blind_for = random.within(1, 6);
        }
        let (under, over) = (random.within(2, width), random.within(2, width));
        let (under, over) = random.pick(&[(under, over), (2, over), (under, 2)]);
        let error = here.local - here.utc;
        let frequency = (tick.oscillator * 1e9).round() as i64 + random.within(-200, 200);
        let off = |t: &Tick| (t.oscillator * 1e9 - frequency as f64).abs().ceil() as i64;
        let margin = ticks[n.saturating_sub(512)..=n].iter().map(off).max().unwrap() + 1;
        blind_for -= 1;
        samples.push(Sample {
            utc: here.utc,
            ref_time: here.utc + random.within(-40_000_000, 40_000_000),
            by_age: Some(true),
            seq,
            host: here.local,
            raw: raw(tick),
            bounds: (blind_for < 0).then_some((error - under, error + over)),
            frequency,
            margin: (!old && !random.one_in(9)).then_some(margin),
            stray,
            boot: tick.boot,
            steps: tick.steps,
            events: if slept { vec!["suspend"] } else { Vec::new() },
        });
        slept = false;
    }
    samples
}

/// Some boots are filed days too early.
fn misfile(samples: &mut [Sample], boots: i32, random: &mut Random) {
    let misfiled = random.one_in(10);
    for boot in 1..=boots {
        let shift = if misfiled && boot > 1 { random.within(-5 * DAY, 0) } else { 0 };
        for sample in samples.iter_mut().filter(|s| s.boot == boot && shift != 0) {
            sample.ref_time += shift;
            sample.by_age = Some(false);
        }
    }
}

/// What is made while the agent is cut off comes afterwards: of the boot that still runs it is filed by its age, which a sleep
/// makes too small; else by its own clock, corrected where it has a window, but before the boot that runs. Nothing is
/// filed further back than the collector has room for.
fn file_late(samples: &mut [Sample], ticks: &[Tick], random: &mut Random) {
    // A collector that did not note what it was sure of, and took all for as young as its receipt.
    let old = random.one_in(6);
    let room = random.pick(&[7 * DAY, 7 * DAY, 7 * DAY, 600 * SECOND]);
    let mut from = 0;
    for _ in 0..random.within(1, 3) {
        from = random.within(from, ticks.len() as i64 - 1);
        let until = from + random.within(1, ticks.len() as i64);
        let awake = |tick: &&Tick| !tick.off;
        let rest = &ticks[(until as usize).min(ticks.len() - 1)..];
        let Some(back) = rest.iter().find(awake).or_else(|| ticks.iter().rfind(awake)) else {
            return;
        };
        let raw = |tick: &Tick| tick.utc + tick.raw_set + tick.raw.round() as i64;
        let running = ticks.iter().find(|t| t.boot == back.boot && !t.off).map_or(0, raw);
        for sample in samples.iter_mut() {
            if sample.utc < ticks[from as usize].utc || sample.utc > back.utc {
                continue;
            }
            let claim = if sample.boot == back.boot {
                back.utc - (raw(back) - sample.raw)
            } else {
                let error = sample.bounds.map_or(0, |(lo, hi)| lo.midpoint(hi));
                let youngest = if old { back.utc } else { back.utc - (raw(back) - running) };
                (sample.host - error).min(youngest)
            };
            sample.ref_time = claim.clamp(back.utc - room, back.utc);
            sample.by_age = Some(sample.boot == back.boot && sample.ref_time == claim);
        }
        from = until.min(ticks.len() as i64 - 1);
    }
    if old {
        samples.iter_mut().for_each(|s| s.by_age = None);
    }
}

/// What never comes: refused reports, each for itself and without a word, or those that a full spool dropped, the oldest
/// first, of which the newest of that time tells.
fn lose(samples: &mut Vec<Sample>, random: &mut Random) {
    match random.within(0, 5) {
        0 => samples.retain(|_| !random.one_in(20)),
        1 => samples.retain(|_| !random.one_in(5)),
        2 => {
            for _ in 0..random.within(1, 3) {
                let first = random.within(0, samples.len() as i64 - 1) as usize;
                let lost = (random.within(1, 40) as usize).min(samples.len() - first);
                samples.drain(first..first + lost.min(samples.len() - 1));
                let newest = first + random.within(0, 40) as usize;
                if let Some(sample) = samples.get_mut(newest) {
                    sample.events.push("dropped");
                }
            }
        }
        _ => {}
    }
}

/// Farthest from the straight line; the clock runs straight within a second, so its ends tell.
fn stray(ticks: &[Tick]) -> i64 {
    let (a, b) = (ticks[0], ticks[ticks.len() - 1]);
    let gained = |t: &Tick| (t.host - t.raw) - (a.host - a.raw);
    let passed = |t: &Tick| (t.utc - a.utc) as f64 + (t.raw - a.raw);
    let slope = gained(&b) / passed(&b);
    let off = |t: &Tick| (gained(t) - slope * passed(t)).abs();
    ticks.iter().map(off).fold(0.0, f64::max).ceil() as i64 + 2
}
