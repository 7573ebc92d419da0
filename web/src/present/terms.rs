//! What the terms mean, in one sentence each.

const TERMS: [(&str, &str); 39] = [
    (
        "answer",
        "Is the whole window outside the budget (certain), part of it (possible), none of it (safe), or is there no usable data (unknown)?",
    ),
    ("since", "How long the answer has been this one."),
    (
        "offset",
        "Best single estimate of host clock minus UTC; plus means the host is ahead. An estimate, not a bound.",
    ),
    (
        "window",
        "The interval certain to contain host clock minus UTC (worst case), drawn against the budget: the dashed lines.",
    ),
    ("width", "Upper end of the window minus its lower end: how well the clock is known."),
    (
        "state",
        "How the window is held: synchronised (sources answer), holdover (none answers, the window grows), free-running, starting, stepped.",
    ),
    ("source", "The time source whose bounds are narrowest among those that agree."),
    ("report", "When the newest report of the agent came in, by the collector's clock."),
    ("verdict", "What the comparison of all sources decided about this one, and why."),
    ("reach", "Answers among the last eight polls, newest at the right."),
    ("delay", "Time on the network, both ways, of the best recent exchange."),
    ("jitter", "Root mean square of the differences between recent offsets."),
    (
        "stratum",
        "Servers between this source and a reference clock: 1 is attached to one, 16 is not synchronised.",
    ),
    (
        "root distance",
        "How far from UTC the server itself says it may be: half its delay to the reference plus its dispersion.",
    ),
    ("reference", "What the server takes its own time from."),
    ("poll", "Time between two questions to this source."),
    (
        "answers",
        "Answers accepted and refused since the agent started; refused ones were forged, malformed or impossible.",
    ),
    (
        "stamps",
        "Where packets get their local timestamp; the nearer to the wire, the narrower the bounds.",
    ),
    (
        "holdover",
        "No source answers; the window grows from the last one that did by the drift limit of the oscillator.",
    ),
    (
        "oscillator",
        "The interval that the rate of the host's oscillator is in, found from the sources within the configured ceiling; every window rests on it.",
    ),
    ("smear", "How the sources that take part treat leap seconds: they do not step, as UTC does."),
    ("leap table", "TAI minus UTC by the leap second table on the host."),
    (
        "interleaved",
        "The server tells when its answer really left (RFC 9769), which narrows the bounds.",
    ),
    ("MAC", "Answers are authenticated by a shared key (RFC 8573)."),
    ("NTS", "Answers are authenticated by Network Time Security (RFC 8915)."),
    ("frequency", "Rate error of the host's free-running oscillator against UTC; plus runs fast."),
    (
        "statistical",
        "Estimate ± k standard deviations from recent exchanges: likely, not certain, so it is never compared with a limit.",
    ),
    (
        "kernel max error",
        "The kernel's own bound (adjtimex maxerror), which grows by 500 ppm since somebody last set it.",
    ),
    (
        "kernel estimated error",
        "What the program that steers the clock told the kernel (adjtimex esterror).",
    ),
    (
        "kernel synchronised",
        "Whether the kernel flag STA_UNSYNC is clear. Many programs never clear it, so it proves nothing either way.",
    ),
    (
        "clock epoch",
        "Boot, and how often since then the clock was set, or may have been while the host slept or no agent ran. Inside one epoch the clock never jumps.",
    ),
    ("TAI offset", "TAI minus UTC as the kernel has it: 37 s since 2017; 0 means nobody set it."),
    (
        "discipliner",
        "The program that steers the system clock. The agent only watches unless it is told to steer.",
    ),
    (
        "witness",
        "Host clock minus collector clock by the stamps of the last batch and its acknowledgement: a check that does not rest on the host's own claim.",
    ),
    (
        "holds",
        "From when to when this tier has data: samples go from raw to samples when their hour is old enough, and into minutes and hours as these are over.",
    ),
    ("rows estimate", "The database's estimate; of samples, blocks of an hour of a host."),
    (
        "growth",
        "By the newest whole day (of hours: month) that is stored; raw and late samples come and go.",
    ),
    (
        "at retention",
        "Size once every tier is as old as it is kept; a tier whose growth is not known yet counts as it is.",
    ),
    ("backup", "The newest that truechimer db backup made of this database."),
];

/// The explanation of a term.
pub(crate) fn term(name: &str) -> &'static str {
    TERMS.iter().find(|(term, _)| *term == name).map_or("", |(_, meaning)| meaning)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Proves that no template asks for a term that has no explanation.
    #[test]
    fn every_term_of_the_templates_is_explained() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/templates");
        let mut asked = 0;
        for file in std::fs::read_dir(folder).unwrap() {
            let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
            for call in text.split("term(\"").skip(1) {
                let name = call.split('"').next().unwrap();
                assert!(!term(name).is_empty(), "{name} has no explanation");
                asked += 1;
            }
        }
        assert!(asked >= 5, "the templates explain their terms");
    }
}
