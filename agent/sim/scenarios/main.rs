//! Named scenarios: in each, what goes wrong for a host without the defence is shown first, then the
//! cure. `cargo test -p agent-sim --test scenarios NAME` runs one.
//!
//! A strict [`agent_sim::Trial`] holds every window against the truth, at every report and every second
//! between, and ends the test at the first that misses it.

mod support;

mod all_servers_die;
mod asymmetric_path;
mod balanced_back_ends;
mod beyond_a_second;
mod daily_swing_at_long_polls;
mod dead_server;
mod duplicates;
mod early_stamps;
mod expired_cookies;
mod false_leap_warning;
mod far_away;
mod fast_crystal;
mod first_to_answer_lies;
mod flapping_server;
mod forger;
mod frozen_machine;
mod heated_in_holdover;
mod heavy_tail;
mod hidden_liar;
mod impossible_stamps;
mod jump_of_2000_s;
mod jumping_liar;
mod kiss_deny;
mod kiss_rate;
mod leap_second;
mod long_polls;
mod lookup_failure;
mod loss;
mod moved_server;
mod negative_delay;
mod night_without_sources;
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
mod server_slews_within_its_claim;
mod server_without_time;
mod slewed_clock;
mod slow_liar;
mod slow_warming_in_holdover;
mod smeared_minority;
mod spikes;
mod steered_by_the_agent;
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

/// Every file here is a scenario that runs, and the table in README.md says what each one says of itself.
#[test]
fn the_readme_lists_every_scenario() {
    let here = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut rows = vec![];
    for entry in std::fs::read_dir(here.join("scenarios")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        if matches!(name.as_str(), "main" | "support") {
            continue;
        }
        let module = format!("\nmod {name};");
        assert!(include_str!("main.rs").contains(&module), "{name} is not in main.rs");
        let text = std::fs::read_to_string(path).unwrap();
        let words: Vec<&str> = text.lines().map_while(|line| line.strip_prefix("//!")).collect();
        let parts: Vec<String> = words
            .split(|line| line.is_empty())
            .map(|lines| lines.concat().trim().to_owned())
            .collect();
        let [title, failure, cure] = parts.as_slice() else { panic!("{name}: {parts:?}") };
        let part = |text: &String, word| text.strip_prefix(word).expect(word).to_owned();
        let (failure, cure) = (part(failure, "Failure: "), part(cure, "Cure: "));
        rows.push(format!("| `{name}` | {title} | {failure} | {cure} |\n"));
    }
    rows.sort();
    assert!(rows.len() >= 30, "{}", rows.len());
    let head = "| name | what happens | failure | cure |\n|---|---|---|---|\n";
    let table = format!("\n{head}{}", rows.concat());
    let readme = std::fs::read_to_string(here.join("README.md")).unwrap();
    let (_, found) = readme.split_once("-->\n").unwrap();
    assert!(found == table, "the table in README.md should be:\n{table}");
}
