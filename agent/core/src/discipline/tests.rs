use alloc::vec::Vec;

use timebase::{Bounds, Discipliner, Leap, Span, SyncState, Timestamp};

use super::*;
use crate::{ClockReading, Random};

const LAST_OF_DECEMBER: i64 = 1_798_700_000_000_000_000;

/// A system clock that obeys a controller, on an oscillator that is off, seen by a noisy estimator.
struct Host {
    controller: Controller,
    /// True seconds since the start.
    now: f64,
    /// Rate of the raw clock, and of the system clock beyond raw and frequency, as fractions.
    raw_rate: f64,
    excess: f64,
    frequency: f64,
    /// Host − UTC.
    error: f64,
    /// The estimator's: its error now, σ of a new one, and since when.
    noise: f64,
    sigma: f64,
    poll: f64,
    asked: f64,
    state: SyncState,
    /// Whether the estimator knows the rate.
    knows_rate: bool,
    random: Random,
    steps: Vec<Span>,
    said: Option<ClockStatus>,
    refuses: Option<SteerError>,
}

impl Host {
    fn new(config: DisciplineConfig) -> Self {
        let mut host = Self {
            controller: Controller::new(config, Timestamp::from_ns(0)),
            now: 0.0,
            raw_rate: 10e-6,
            excess: 0.0,
            frequency: 0.0,
            error: 5e-3,
            noise: 0.0,
            sigma: 0.0,
            poll: 16.0,
            asked: 0.0,
            state: SyncState::Synchronised,
            knows_rate: true,
            random: Random::from_number(1, 7),
            steps: Vec::new(),
            said: None,
            refuses: None,
        };
        host.controller.handle_discipliner(host.raw(), Discipliner::None, 0.0);
        host
    }

    fn raw(&self) -> Timestamp<Raw> {
        Timestamp::from_ns((self.now * (1.0 + self.raw_rate) * 1e9) as i64)
    }

    fn reading(&self) -> ClockReading {
        let realtime = LAST_OF_DECEMBER + ((self.now + self.error) * 1e9) as i64;
        ClockReading {
            raw: self.raw(),
            realtime: Timestamp::from_ns(realtime),
            uncertainty: Span::from_ns(50),
        }
    }

    fn pass(&mut self, seconds: f64) {
        self.now += seconds;
        self.error +=
            ((1.0 + self.raw_rate) * (1.0 + self.excess + self.frequency) - 1.0) * seconds;
    }

    /// Lets the time pass, with a look at the clock every second and an estimate every poll.
    fn run(&mut self, seconds: f64) {
        let until = self.now + seconds;
        while self.now < until - 1e-9 {
            let tick = (libm::floor(self.now + 1e-6) + 1.0 - self.now).min(until - self.now);
            let due = self.controller.next_timeout();
            // A timer is a little late.
            let timer = due.map_or(f64::MAX, |at| (at - self.raw()).as_secs_f64().max(0.0) + 1e-3);
            self.pass(tick.min(timer));
            if timer < tick {
                self.controller.handle_timeout(self.raw());
            } else {
                self.look();
            }
            self.obey();
        }
    }

    fn look(&mut self) {
        if self.now - self.asked >= self.poll && self.state == SyncState::Synchronised {
            self.asked = self.now;
            self.noise = self.sigma * self.random.normal();
        }
        let reading = self.reading();
        let _ = self.controller.observe(reading);
        let offset = Span::from_secs_f64(self.error + self.noise);
        let estimate = Estimate {
            offset,
            sigma: Span::from_secs_f64(self.sigma),
            rate: self.knows_rate.then_some(Gain { value: self.raw_rate, sigma: 1e-8 }),
            bounds: Bounds::around(offset, Span::from_secs_f64(1e-4 + 4.0 * self.sigma)),
            state: self.state,
            leap: Leap::Insert,
            tai_offset_s: Some(37),
            heard: Some(Timestamp::from_ns((self.asked * 1e9) as i64)),
        };
        let known = self.state != SyncState::FreeRunning;
        self.controller.update(reading, known.then_some(estimate));
    }

    fn obey(&mut self) {
        while let Some(steer) = self.controller.poll() {
            let result = self.refuses.map_or(Ok(()), Err);
            if result.is_ok() {
                match steer {
                    Steer::Frequency(ppb) => self.frequency = ppb * 1e-9,
                    Steer::Step(by) => {
                        self.error += by.as_secs_f64();
                        self.steps.push(by);
                    }
                    Steer::Status(status) => self.said = Some(status),
                }
            }
            self.controller.handle_steered(self.raw(), result);
        }
    }

    /// RMS of the error over some time, looked at every 250 ms.
    fn rms(&mut self, seconds: u32) -> f64 {
        let squares: f64 = (0..seconds * 4)
            .map(|_| {
                self.run(0.25);
                self.error * self.error
            })
            .sum();
        libm::sqrt(squares / f64::from(seconds * 4))
    }
}

/// Proves that a clock 5 ms and 10 ppm off is within a microsecond after the slew that the limit
/// allows, without overshoot, and stays there.
#[test]
fn a_bad_start_is_over_quickly() {
    let mut host = Host::new(DisciplineConfig::default());
    let mut lowest = f64::MAX;
    for _ in 0..80 {
        host.run(0.1);
        lowest = lowest.min(host.error);
    }
    assert!(host.error.abs() < 1e-6, "{:e}", host.error);
    assert!(lowest > -2e-6, "overshoot: {lowest:e}");
    assert!(host.rms(600) < 2e-7);
    assert_eq!(host.steps, []);
    assert_eq!(host.controller.state(), Steering::Active);
}

/// Proves the same where the rate is not known at first and the clock has a rate of its own.
#[test]
fn a_clock_with_a_rate_of_its_own_is_held() {
    let mut host = Host::new(DisciplineConfig::default());
    (host.knows_rate, host.raw_rate, host.excess) = (false, 0.0, 10e-6);
    host.run(12.0);
    assert!(host.error.abs() < 2e-6, "{:e}", host.error);
    let rms = host.rms(300);
    assert!(rms < 5e-7, "{rms:e}");
}

/// Proves that the clock is no noisier than the estimates it follows.
#[test]
fn noise_is_not_amplified() {
    let mut host = Host::new(DisciplineConfig::default());
    host.sigma = 10e-6;
    host.run(60.0);
    let rms = host.rms(4000);
    assert!(rms < 9e-6, "{rms:e}");
}

/// Proves that without sources the clock keeps the learned frequency and drops the correction, that
/// it still counts as synchronised with its window, and no longer when the window is lost.
#[test]
fn holdover_keeps_the_frequency_alone() {
    let mut host = Host::new(DisciplineConfig::default());
    host.run(3.0);
    assert!(host.error > 1e-3, "still slewing: {:e}", host.error);
    host.state = SyncState::Holdover;
    host.run(1.0);
    let before = host.error;
    host.run(1000.0);
    assert!((host.error - before).abs() < 1e-6, "{:e}", host.error - before);
    assert_eq!(host.controller.state(), Steering::Holding);
    assert!(host.said.unwrap().synchronised);
    host.state = SyncState::FreeRunning;
    host.run(2.0);
    assert!(!host.said.unwrap().synchronised);
}

/// Proves that only the first updates step, only beyond the threshold, and that -1 lets all.
#[test]
fn steps_are_for_the_first_updates() {
    let config = DisciplineConfig { step_limit: Some(2), ..DisciplineConfig::default() };
    let mut host = Host::new(config);
    host.error = 0.7;
    host.run(2.0);
    assert_eq!(host.steps.len(), 1);
    assert!((host.steps[0].as_secs_f64() + 0.7).abs() < 1e-3, "{:?}", host.steps);
    assert!(host.error.abs() < 1e-6);
    host.run(60.0);
    host.error += 0.7;
    host.run(60.0);
    assert_eq!(host.steps.len(), 1, "slewed now");
    assert!((0.60..0.66).contains(&host.error), "{:e}", host.error);

    let mut host = Host::new(DisciplineConfig { step_limit: None, ..config });
    host.run(600.0);
    host.error -= 0.7;
    host.run(2.0);
    assert_eq!(host.steps.len(), 1);
}

/// Proves that an error beyond the panic threshold is reported and not corrected, and that correction
/// begins when somebody has set the clock.
#[test]
fn panic_reports_and_leaves_the_clock() {
    let config =
        DisciplineConfig { panic_threshold: Some(Span::from_secs(1)), ..Default::default() };
    let mut host = Host::new(config);
    host.error = 1.5;
    host.run(20.0);
    assert!((host.error - 1.5).abs() < 1e-3, "{:e}", host.error);
    assert!(matches!(host.controller.state(), Steering::Panic(by) if by > Span::SECOND));
    assert!(!host.said.unwrap().synchronised);
    host.error = 1e-3;
    host.controller.interrupted();
    host.run(20.0);
    assert_eq!(host.controller.state(), Steering::Active);
    assert!(host.error.abs() < 1e-6, "{:e}", host.error);
}

/// Proves that what readers of `adjtimex` are told follows the estimate, and the leap second waits for
/// its day.
#[test]
fn the_kernel_is_told_the_truth() {
    let mut host = Host::new(DisciplineConfig::default());
    host.run(2.5);
    let said = host.said.unwrap();
    assert!(said.synchronised);
    assert!(said.max_error >= Span::from_secs_f64(host.error), "{said:?}");
    assert_eq!((said.leap, said.tai_offset_s), (Leap::Insert, Some(37)));
    host.run(30.0);
    assert!(host.said.unwrap().max_error < Span::from_millis(1));

    let config = DisciplineConfig { rtc_sync: false, ..DisciplineConfig::default() };
    let mut host = Host::new(config);
    host.run(30.0);
    assert!(!host.said.unwrap().synchronised);
}

/// Proves that nothing is asked of the kernel while another daemon steers, that the clock is left at
/// rest when one appears, and that steering begins when it is gone.
#[test]
fn two_do_not_steer_one_clock() {
    let mut host = Host::new(DisciplineConfig::default());
    host.controller.handle_discipliner(host.raw(), Discipliner::Chronyd, 0.0);
    host.run(10.0);
    assert_eq!((host.frequency, host.said), (0.0, None));
    let refused = Steering::Refused(Refusal::Daemon(Discipliner::Chronyd));
    assert_eq!(host.controller.state(), refused);
    // chronyd has learned something in the meantime.
    host.frequency = -9e-6;
    host.controller.handle_discipliner(host.raw(), Discipliner::None, -9e3);
    host.run(3.0);
    assert_eq!(host.controller.state(), Steering::Active);
    host.controller.handle_discipliner(host.raw(), Discipliner::Chronyd, 0.0);
    host.obey();
    assert!((host.frequency + 10e-6).abs() < 1e-7, "{:e}", host.frequency);
    assert_eq!(host.controller.state(), refused);
}

/// Proves that a refusal by the kernel is reported, and that it is tried again later only.
#[test]
fn a_refusal_is_reported_and_tried_again() {
    for (error, wait) in [(SteerError::Permission, 60.0), (SteerError::Foreign, 1024.0)] {
        let mut host = Host::new(DisciplineConfig::default());
        host.refuses = Some(error);
        host.run(5.0);
        let refused = Steering::Refused(Refusal::Error(error));
        assert_eq!(host.controller.state(), refused);
        host.refuses = None;
        host.run(wait - 10.0);
        host.controller.handle_discipliner(host.raw(), Discipliner::None, 0.0);
        assert_eq!(host.controller.state(), refused);
        host.run(10.0);
        host.controller.handle_discipliner(host.raw(), Discipliner::None, 0.0);
        host.run(2.0);
        assert_eq!(host.controller.state(), Steering::Active);
    }
}

/// Proves that what an earlier run learned serves before anything is measured, and that what this run
/// learned can be kept.
#[test]
fn the_learned_frequency_is_kept_and_used() {
    let learned = LearnedFrequency { ppb: -10_000.0, sigma_ppb: 20.0 };
    let config = DisciplineConfig { learned: Some(learned), ..DisciplineConfig::default() };
    let mut host = Host::new(config);
    (host.knows_rate, host.error) = (false, 0.0);
    host.run(3.0);
    assert!((host.frequency + 10e-6).abs() < 2e-8, "{:e}", host.frequency);
    assert_eq!(host.controller.learned(), None, "nothing new");
    host.knows_rate = true;
    host.run(20.0);
    let learned = host.controller.learned().unwrap();
    assert!((learned.ppb + 10_000.0).abs() < 20.0, "{learned:?}");
}

/// Proves that a stopping agent leaves the clock at rest in the middle of a slew.
#[test]
fn a_stop_ends_the_slew() {
    let mut host = Host::new(DisciplineConfig::default());
    host.run(2.0);
    assert!(host.frequency < -5e-4);
    host.controller.release();
    host.obey();
    assert!((host.frequency + 10e-6).abs() < 1e-7, "{:e}", host.frequency);
}
