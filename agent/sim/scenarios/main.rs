//! Named scenarios: in each, what goes wrong for a host without the defence is shown first, then the
//! cure. `cargo test -p agent-sim --test scenarios NAME` runs one.
//!
//! A strict [`agent_sim::Trial`] holds every window against the truth, at every report and every second
//! between, and ends the test at the first that misses it.

mod support;

mod all_servers_die;
mod dead_server;
mod first_to_answer_lies;
mod flapping_server;
mod hidden_liar;
mod jump_of_2000_s;
mod jumping_liar;
mod kiss_deny;
mod kiss_rate;
mod moved_server;
mod negative_delay;
mod one_liar;
mod slow_liar;
mod stratum_16;
mod swinging_liar;
mod two_colluding_liars;
mod two_that_disagree;
mod understated_root_distance;
mod unsynchronised_server;
mod wandering_servers;
