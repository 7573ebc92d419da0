//! A host 0.1 s wrong with a crystal 30 ppm off, and nobody who steers its clock.
//!
//! Failure: the clock runs away by 2.6 s a day.
//!
//! Cure: with `discipline` the agent steps it once and then holds it; the windows stay true all the
//! while.

use agent_core::DisciplineConfig;
use agent_sim::{Crystal, HostConfig, Steering, Trial};
use timebase::Discipliner;

use crate::support::{good, hours, ms, us, world};

#[test]
fn is_held_to_utc() {
    let crystal = Crystal { rate_ppm: 30.0, ..Crystal::ordinary() };
    let free =
        HostConfig { crystal, initial_error: ms(101), steering: Steering::None, ..world(good(3)) };
    let mut alone = Trial::honest(free.clone());
    alone.run(hours(6));
    assert!(alone.look_now().true_error > ms(700));

    let mut config = HostConfig { steering: Steering::Agent, ..free };
    config.engine.discipline = Some(DisciplineConfig::default());
    let mut steered = Trial::honest(config);
    steered.run(hours(1));
    let mut most = ms(0);
    for _ in 0..5 * 360 {
        steered.run(ms(10_000));
        most = most.max(steered.look_now().true_error.abs());
    }
    assert!(most < us(100), "{most}");
    assert_eq!(steered.look_now().report.discipliner, Discipliner::Agent);
}
