use super::*;

fn parse(text: &str) -> Result<Config, String> {
    let config: Config = merge::over_default(DEFAULT, text).map_err(|error| error.to_string())?;
    config.validate().map_err(|error| error.to_string())?;
    Ok(config)
}

/// Proves that the documented sample is complete and usable, and survives printing and reading.
#[test]
fn the_sample_file_is_the_default() {
    let config = parse("").unwrap();
    assert_eq!(config.report_interval, Span::from_secs(10));
    assert_eq!(config.observe.listen, Some("127.0.0.1:4463".parse().unwrap()));
    let again: Config = toml::from_str(&config.to_toml()).unwrap();
    assert_eq!(again.to_toml(), config.to_toml());
}

/// Proves that a user's file changes what it names and nothing else, tables included.
#[test]
fn a_file_overrides_table_by_table() {
    let config =
        parse("report-interval = \"1 s\"\n[ntp]\nmin-poll = 4\n[labels]\nrack = \"b2\"").unwrap();
    assert_eq!(config.report_interval, Span::SECOND);
    assert_eq!((config.ntp.min_poll, config.ntp.max_poll), (4, 8));
    assert_eq!(config.labels["rack"], "b2");
}

/// Proves that every kind of mistake is answered with its key and, where it has one, its line.
#[test]
fn mistakes_are_named_with_key_and_line() {
    for (text, line, key) in [
        ("service = \"web\"\nreport-intervall = \"1 s\"", "line 2", "report-intervall"),
        ("[ntp]\nservers = \"one\"", "line 2", "servers"),
        ("[ntp]\n\n\nmin-pol = 3", "line 4", "min-pol"),
        ("report-interval = \"5 parsecs\"", "line 1", "report-interval"),
        ("[observe]\nlisten = \"here\"", "line 2", "listen"),
        ("[ntp]\nservers = [\"ok\", \"a b\"]", "line 2", "a b"),
        ("service = ", "line 1", "service"),
        ("report-interval = \"1 ms\"", "", "report-interval"),
        ("[ntp]\nmin-poll = 9", "", "ntp.min-poll"),
        ("[ntp]\nmax-poll = 99", "", "ntp.max-poll"),
        ("[discipline]\nstep-limit = -2", "", "discipline.step-limit"),
        ("[discipline]\npanic-threshold = \"1 ms\"", "", "discipline.panic-threshold"),
        ("[discipline]\nmax-slew-ppm = 1", "", "discipline.max-slew-ppm"),
        ("spool-bytes = 10", "", "spool-bytes"),
        ("[ntp]\ndscp = 64", "", "ntp.dscp"),
        ("[ntp]\nbind-address = \"eth0\"", "line 2", "bind-address"),
        ("[ntp]\nbind-interface = \"a/b\"", "", "ntp.bind-interface"),
        ("[ntp]\nhardware-timestamps = \"on\"", "line 2", "hardware-timestamps"),
        ("[[ntp.server]]\nname = \"a\"\n\nmin-pol = 3", "line 4", "min-pol"),
        ("[[ntp.server]]\nname = \"a\"\nmin-poll = -5", "line 3", "-5 is not from -4 to 17"),
        ("[[ntp.server]]\nname = \"a\"\nkey = \"x\"", "line 3", "key"),
        ("[[ntp.server]]\nmin-poll = 1", "line 1", "name"),
        ("\n[[ntp.server]]\nname = \"a\"\nnts = true\nkey = 1", "line 2", "key and nts"),
        ("[[ntp.server]]\nname = \"a\"\nmin-poll = 5\nmax-poll = 4", "line 1", "min-poll"),
        ("[labels]\nrack = \"\\u0007\"", "", "labels"),
        ("[leap]\nambiguity = \"2 min\"", "", "leap.ambiguity"),
        ("[[refclock]]\nkind = \"gps\"", "line 2", "gps"),
        ("[[refclock]]\nkind = \"pps\"\npath = \"/dev/pps0\"\npol = 1", "line 4", "pol"),
        ("[[refclock]]\nkind = \"pps\"\nunit = 1", "", "absolute path"),
        ("[[refclock]]\nkind = \"shm\"\npath = \"/x\"", "", "unit"),
        ("[[refclock]]\nkind = \"shm\"\nunit = 0\npoll = 17", "", "poll"),
        ("[[refclock]]\nkind = \"shm\"\nunit = 0\nreference-id = \"GNSS1\"", "", "reference-id"),
        ("[[refclock]]\nkind = \"shm\"\nunit = 0\npermissions = \"rw\"", "line 4", "0600"),
        ("[[refclock]]\nkind = \"shm\"\nunit = 0\nsmear = \"x\"", "line 4", "linear-24h"),
        (
            "[ntp]\nservers = [\"a\"]\n[[refclock]]\nkind = \"pps\"\npath = \"/dev/pps0\"\nlock = \"GSP\"",
            "",
            "lock: no source that numbers pulses is called \"GSP\": name one of a,",
        ),
    ] {
        let error = parse(text).expect_err(text);
        assert!(error.contains(key), "{text}: {error}");
        assert!(error.contains(line), "{text}: {error}");
    }
}

/// Proves that a pulse can be locked to a server and to another clock, and to neither a pulse nor a name
/// that nothing has, unless servers are found later that may have it.
#[test]
fn a_lock_names_a_source() {
    let clocks = |servers: &str, lock: &str| {
        parse(&format!(
            "[ntp]\nservers = [{servers}]\n\
             [[refclock]]\nkind = \"shm\"\nunit = 0\nname = \"GPS\"\n\
             [[refclock]]\nkind = \"pps\"\npath = \"/dev/pps0\"\nlock = \"{lock}\"\n"
        ))
    };
    for lock in ["GPS", "a.example", "192.0.2.1:5"] {
        clocks("\"a.example\", \"192.0.2.1:5\"", lock).expect(lock);
    }
    for lock in ["gps", "/dev/pps0", "b.example", ""] {
        let error = clocks("\"a.example\"", lock).expect_err(lock);
        assert!(error.contains("refclock: /dev/pps0: lock: "), "{error}");
        assert!(error.contains("one of a.example, GPS"), "{error}");
    }
    let inherited = clocks("", "b.example").unwrap();
    assert_eq!(inherited.unknown_locks(&[]).len(), 1);
    let found = Server::one("b.example".parse().unwrap());
    assert_eq!(inherited.unknown_locks(&[found]), Vec::<String>::new());
}

/// Proves that the example of a server in the sample file is complete, says the true defaults, and is
/// itself a configuration.
#[test]
fn the_example_server_is_the_default() {
    let lines = DEFAULT.lines().skip_while(|line| *line != "# [[ntp.server]]");
    let example: Vec<_> = lines.map_while(|line| line.strip_prefix("# ")).collect();
    let example = example.join("\n").replace("nts = false", "nts = true").replace("key =", "#");
    let server = parse(&example).unwrap().ntp.server.remove(0);
    let plain = Server::one("ntp.example.net".parse().unwrap());
    let given = Server {
        min_poll: Some(6),
        max_poll: Some(8),
        iburst: Some(true),
        nts: true,
        nts_ca_file: Some("/etc/ssl/ca.pem".into()),
        ..plain
    };
    assert_eq!(server, given);
    let keys = toml::to_string(&given).unwrap();
    for key in keys.lines().filter_map(|line| line.split(" = ").next()) {
        assert!(example.contains(&format!("{key} = ")), "{key} is not in the example");
    }
}

/// Proves that the example of a reference clock in the sample file has every key and says the true
/// defaults.
#[test]
fn the_example_clock_is_the_default() {
    let lines = DEFAULT.lines().skip_while(|line| *line != "# [[refclock]]");
    let example: Vec<_> = lines.map_while(|line| line.strip_prefix("# ")).collect();
    let example = example.join("\n");
    let mut given = parse(&example.replace("unit =", "#")).unwrap().refclock.remove(0);
    assert_eq!((given.delay(), given.precision()), (Span::MILLISECOND, Span::MICROSECOND));
    let keys = toml::to_string(&Refclock { unit: Some(0), ..given.clone() }).unwrap();
    for key in keys.lines().filter_map(|line| line.split(" = ").next()) {
        assert!(example.contains(&format!("{key} = ")), "{key} is not in the example");
    }
    let plain = "[[refclock]]\nkind = \"sock\"\npath = \"/run/chrony.ttyS0.sock\"";
    let plain = parse(plain).unwrap().refclock.remove(0);
    assert_eq!((given.delay(), given.precision()), (plain.delay(), plain.precision()));
    (given.name, given.reference_id, given.lock, given.tai_offset) = (None, None, None, None);
    (given.delay, given.precision) = (None, None);
    assert_eq!(given, plain);
    let config = parse(&example.replace("unit =", "#")).unwrap();
    let again: Config = toml::from_str(&config.to_toml()).unwrap();
    assert_eq!(again.refclock, config.refclock);
}
