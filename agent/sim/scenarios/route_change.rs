//! The way back becomes 8 ms longer at noon, and shorter again an hour later.
//!
//! Failure: the middle of each exchange jumps by 4 ms, and so does a client that follows it.
//!
//! Cure: bounds from before stay true, so the window of the agent does not lose the truth on either
//! change.

use agent_sim::{Path, Route, Trial};

use crate::support::{good, hours, minutes, ms, us, world};

#[test]
fn is_covered_by_the_window() {
    let mut links = good(2);
    for link in &mut links {
        let route = |h, back| Route { after: hours(h), out: ms(1), back };
        link.path = Path {
            routes: vec![route(2, ms(9)), route(3, ms(1))],
            ..Path::symmetric(ms(2), us(50))
        };
    }
    let mut trial = Trial::honest(world(links));
    trial.run(hours(2));
    trial.run(minutes(5));
    assert!(trial.width() < ms(5), "the old bounds still count: {}", trial.width());
    trial.run(hours(3));
    assert!(trial.width() < ms(5), "{}", trial.width());
    assert!(trial.tally.likely() > 0.95, "{:?}", trial.tally);
}
