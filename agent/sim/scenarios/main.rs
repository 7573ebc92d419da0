//! Named scenarios: in each, what goes wrong for a host without the defence is shown first, then the
//! cure. `cargo test -p agent-sim --test scenarios NAME` runs one.
//!
//! A strict [`agent_sim::Trial`] holds every window against the truth, at every report and every second
//! between, and ends the test at the first that misses it.

mod support;

mod all_servers_die;
mod asymmetric_path;
mod dead_server;
mod duplicates;
mod far_away;
mod fast_crystal;
mod first_to_answer_lies;
mod flapping_server;
mod heated_in_holdover;
mod heavy_tail;
mod hidden_liar;
mod jump_of_2000_s;
mod jumping_liar;
mod kiss_deny;
mod kiss_rate;
mod long_polls;
mod lookup_failure;
mod loss;
mod moved_server;
mod negative_delay;
mod noisy_crystal;
mod one_liar;
mod one_way_queues;
mod outages;
mod paused_machine;
mod poor_crystal;
mod rate_jump;
mod rebooting_host;
mod reordering;
mod route_change;
mod rush_hour;
mod slewed_clock;
mod slow_liar;
mod spikes;
mod stepped_clock;
mod stratum_16;
mod suspended_host;
mod swinging_liar;
mod thermal_day;
mod two_colluding_liars;
mod two_that_disagree;
mod understated_root_distance;
mod unsynchronised_server;
mod wandering_servers;
