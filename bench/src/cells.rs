//! What is compared: the cells of the benchmark, each a set of servers and the paths to them.

use crate::delay::{Delay, Path};

/// Which server is at the end of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Server {
    /// Serves this machine's clock, which is the truth here.
    Honest,
    /// Serves it 80 ms ahead, and claims to be exact.
    Falseticker,
}

/// One server as the clients of a cell reach it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Link {
    pub(crate) server: Server,
    /// `None`: loopback, without a proxy.
    pub(crate) path: Option<Path>,
}

/// One comparison.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cell {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    pub(crate) links: &'static [Link],
    /// Only with `--long`, at polls from 64 s to 256 s.
    pub(crate) long: bool,
    /// Whether any client could do better: nobody sees a constant asymmetry of the only path.
    pub(crate) judged: bool,
}

const fn honest(path: Path) -> Link {
    Link { server: Server::Honest, path: Some(path) }
}

/// 1 ms each way, with a queue of 100 µs in the mean.
const PLAIN: Path = Path::symmetric(1000.0, 100.0);

/// All cells, in the order of the report.
pub(crate) const CELLS: &[Cell] = &[
    Cell {
        name: "loopback",
        about: "one server over loopback, no delay added",
        links: &[Link { server: Server::Honest, path: None }],
        long: false,
        judged: true,
    },
    Cell {
        name: "jitter",
        about: "one server, 1 ms + exp(100 us) each way",
        links: &[honest(PLAIN)],
        long: false,
        judged: true,
    },
    Cell {
        name: "queueing",
        about: "one server, up exp(100 us), down exp(1 ms)",
        links: &[honest(Path::new(Delay::new(0.0, 100.0), Delay::new(0.0, 1000.0)))],
        long: false,
        judged: true,
    },
    Cell {
        name: "asymmetric",
        about: "one server, up 1 ms, down 3 ms, + exp(100 us): 1 ms of error that nobody can see",
        links: &[honest(Path::new(Delay::new(1000.0, 100.0), Delay::new(3000.0, 100.0)))],
        long: false,
        judged: false,
    },
    Cell {
        name: "lossy",
        about: "one server, 1 ms + exp(100 us) each way, 20 % of the packets lost each way",
        links: &[honest(PLAIN.losing(0.2))],
        long: false,
        judged: true,
    },
    Cell {
        name: "falseticker",
        about: "four servers, 1 ms + exp(100 us) each way, one of them 80 ms ahead",
        links: &[
            honest(PLAIN),
            honest(PLAIN),
            honest(PLAIN),
            Link { server: Server::Falseticker, path: Some(PLAIN) },
        ],
        long: false,
        judged: true,
    },
    Cell {
        name: "paths",
        about: "four servers, each way 0.3 ms + exp(50 us); 1 ms + exp(100 us); 2 ms up and 2.5 ms \
                down + exp(200 us); 5 ms + exp(500 us)",
        links: &[
            honest(Path::symmetric(300.0, 50.0)),
            honest(PLAIN),
            honest(Path::new(Delay::new(2000.0, 200.0), Delay::new(2500.0, 200.0))),
            honest(Path::symmetric(5000.0, 500.0)),
        ],
        long: false,
        judged: true,
    },
    Cell {
        name: "skewed-paths",
        about: "four servers, up and down 0.5 and 2.5 ms; 2.5 and 0.5 ms; 1 and 1 ms; 2 and 2 ms, + \
                exp(100 us)",
        links: &[
            honest(Path::new(Delay::new(500.0, 100.0), Delay::new(2500.0, 100.0))),
            honest(Path::new(Delay::new(2500.0, 100.0), Delay::new(500.0, 100.0))),
            honest(PLAIN),
            honest(Path::symmetric(2000.0, 100.0)),
        ],
        long: false,
        judged: true,
    },
    Cell {
        name: "long-polls",
        about: "one server, 1 ms + exp(1 ms) each way, polls of 64 s to 256 s",
        links: &[honest(Path::symmetric(1000.0, 1000.0))],
        long: true,
        judged: true,
    },
];
