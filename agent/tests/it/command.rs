//! The command line: what it prints, and how it complains.

use crate::support::{Folder, agent, finished};

/// Proves that check-config prints a file that is itself a valid configuration.
#[test]
fn check_config_prints_the_effective_file() {
    let folder = Folder::new();
    let file = folder.file("agent.toml", "service = \"identity\"\n[ntp]\nservers = [\"a:5\"]\n");
    let (code, printed, _) = finished(agent().args(["check-config", "--config"]).arg(&file));
    assert_eq!(code, Some(0));
    assert!(printed.contains("service = \"identity\"") && printed.contains("min-poll = 6"));
    let again = folder.file("again.toml", &printed);
    let (code, reprinted, _) = finished(agent().args(["check-config", "--config"]).arg(&again));
    assert_eq!((code, reprinted), (Some(0), printed));
}

/// Proves that mistakes end the program with a message that names what to correct.
#[test]
fn mistakes_are_named() {
    let folder = Folder::new();
    let typo = folder.file("typo.toml", "service = \"x\"\nreport-intervall = \"1 s\"\n");
    let typo = typo.to_str().unwrap();
    for (args, complaint) in [
        (vec!["check-config", "--config", typo], vec!["typo.toml", "line 2", "report-intervall"]),
        (vec!["check-config", "--config", "/nonexistent"], vec!["/nonexistent"]),
        (vec!["check-config", "--server", "a b"], vec!["--server", "ntp.example.net"]),
        (vec!["check-config", "--collector", "http://192.0.2.1:1"], vec!["allow-plain"]),
        (vec!["check-config", "--poll", "99"], vec!["ntp.min-poll"]),
        (vec!["run", "--observe", "nowhere"], vec!["--observe"]),
        (vec!["run", "--log", "a=b=c"], vec!["log.filter"]),
    ] {
        let (code, _, said) = finished(agent().args(&args));
        assert!(code.is_some_and(|code| code != 0), "{args:?} ended with {code:?}");
        for word in complaint {
            assert!(said.contains(word), "{args:?}: {said}");
        }
    }
}

/// Proves that a taken metrics port is an error that says what to do.
#[test]
fn a_taken_port_is_explained() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let (code, _, said) =
        finished(agent().args(["run", "--json", "--server", "127.0.0.1:9", "--observe", &address]));
    assert_eq!(code, Some(1));
    assert!(said.contains(&address) && said.contains("--observe off"), "{said}");
}

/// Proves that status says plainly when there is no agent.
#[test]
fn status_without_an_agent_says_so() {
    let folder = Folder::new();
    let (code, _, said) = finished(agent().args(["status", "--state-dir"]).arg(folder.path()));
    assert_eq!(code, Some(1));
    assert!(said.contains("no agent answers at"), "{said}");
}

/// Proves that the help shown first tells a newcomer what the commands are for.
#[test]
fn help_lists_the_commands() {
    let (code, help, _) = finished(agent().arg("--help").env("COLUMNS", "100"));
    assert_eq!(code, Some(0));
    insta::assert_snapshot!(help, @r"
    Knows the interval that is certain to contain true time on this host, and reports it. It only
    observes, unless it is told to discipline the clock

    Usage: truechimer-agent <COMMAND>

    Commands:
      run           Run the agent in the foreground
      status        Show what the running agent knows: the window, and every source with its verdict
      online        Let the running agent ask its sources (again), or one of them
      offline       Let the running agent stop asking its sources, or one of them
      check-config  Check the configuration and print the effective file
      help          Print this message or the help of the given subcommand(s)

    Options:
      -h, --help     Print help
      -V, --version  Print version
    ");
}
