use timebase::Span;

use crate::Rng;

/// How long packets wait in queues, beyond the least delay of the way.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Queueing {
    /// Always this long.
    Constant(Span),
    /// A lightly loaded network: exponential with this mean.
    Exponential(Span),
    /// Normal with mean and standard deviation, never negative.
    Normal(Span, Span),
    /// Anything up to this, with equal chance.
    Uniform(Span),
    /// A heavy tail (Lomax): scale, and shape (2 has a mean and no variance).
    Pareto(Span, f64),
    /// None, but this share of the packets waits that long.
    Spikes(f64, Span),
}

impl Queueing {
    /// No queues at all.
    pub const NONE: Self = Self::Constant(Span::ZERO);

    pub(crate) fn span(self, rng: &mut Rng) -> Span {
        Span::from_secs_f64(self.draw(rng))
    }

    fn draw(self, rng: &mut Rng) -> f64 {
        match self {
            Self::Constant(delay) => delay.as_secs_f64(),
            Self::Exponential(mean) => rng.exponential(mean.as_secs_f64()),
            Self::Normal(mean, sigma) => {
                (mean.as_secs_f64() + sigma.as_secs_f64() * rng.normal()).max(0.0)
            }
            Self::Uniform(most) => rng.between(0.0, most.as_secs_f64()),
            Self::Pareto(scale, shape) => {
                let tail = libm::pow(1.0 - rng.unit(), -1.0 / shape);
                scale.as_secs_f64() * (tail - 1.0)
            }
            Self::Spikes(share, delay) => {
                if rng.unit() < share {
                    delay.as_secs_f64()
                } else {
                    0.0
                }
            }
        }
    }
}

/// A queue that is longer at some hours than at others.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Congestion {
    /// From one rush hour to the next.
    pub period: Span,
    /// How many times as long the queues are then.
    pub peak: f64,
}

impl Outages {
    pub(crate) fn broken(self, since: Span) -> bool {
        let stretch = since.as_ns().div_euclid(self.every.as_ns().max(1));
        let room = (self.every - self.lasts).as_secs_f64();
        let begins = Span::from_secs_f64(Rng::new(stretch as u64).between(0.0, room));
        let into = since - Span::from_ns(stretch * self.every.as_ns());
        begins <= into && into < begins + self.lasts
    }
}

/// One route of packets: its least delay takes effect at some time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Route {
    /// From when on, after the host's first boot.
    pub after: Span,
    /// Least delay host → server.
    pub out: Span,
    /// Least delay server → host.
    pub back: Span,
}

/// Losses in a row: the path breaks for a while.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Outages {
    /// One in each such stretch of time, at a random place in it.
    pub every: Span,
    /// How long each lasts.
    pub lasts: Span,
}

/// The knobs of the way to a server and back.
#[derive(Clone, Debug, PartialEq)]
pub struct Path {
    /// Least delay host → server.
    pub out: Span,
    /// Least delay server → host.
    pub back: Span,
    /// Queues host → server.
    pub queue_out: Queueing,
    /// Queues server → host.
    pub queue_back: Queueing,
    /// Rush hours.
    pub congestion: Option<Congestion>,
    /// Later routes, in order.
    pub routes: Vec<Route>,
    /// Share of packets lost, each way, 0 to 1.
    pub loss: f64,
    /// Times when everything is lost.
    pub outages: Option<Outages>,
    /// Share of packets that arrive twice.
    pub duplicated: f64,
    /// Share of packets held back so long that later ones overtake them, and for how long at most.
    pub held: (f64, Span),
}

impl Default for Path {
    fn default() -> Self {
        Self::symmetric(Span::from_ns(400_000), Span::from_ns(50_000))
    }
}

impl Path {
    /// A symmetric path with a round trip of `rtt` and exponential queueing of that mean each way.
    pub fn symmetric(rtt: Span, queueing: Span) -> Self {
        Self {
            out: rtt.half(),
            back: rtt.half(),
            queue_out: Queueing::Exponential(queueing),
            queue_back: Queueing::Exponential(queueing),
            congestion: None,
            routes: Vec::new(),
            loss: 0.0,
            outages: None,
            duplicated: 0.0,
            held: (0.0, Span::ZERO),
        }
    }

    /// The delays of the copies of one packet that leaves `since` the host's first boot; none if it is
    /// lost.
    fn deliver(&self, least: Span, queue: Queueing, since: Span, rng: &mut Rng) -> Vec<Span> {
        let broken = self.outages.is_some_and(|outages| outages.broken(since));
        let copies = if broken || rng.unit() < self.loss {
            0
        } else if rng.unit() < self.duplicated {
            2
        } else {
            1
        };
        (0..copies)
            .map(|_| {
                let (share, longest) = self.held;
                let held =
                    if rng.unit() < share { rng.between(0.0, longest.as_secs_f64()) } else { 0.0 };
                let waits = queue.draw(rng) * self.load(since) + held;
                least + Span::from_secs_f64(waits)
            })
            .collect()
    }

    /// When the copies of a request arrive.
    pub(crate) fn there(&self, since: Span, rng: &mut Rng) -> Vec<Span> {
        self.deliver(self.least(since).0, self.queue_out, since, rng)
    }

    /// When the copies of an answer arrive.
    pub(crate) fn home(&self, since: Span, rng: &mut Rng) -> Vec<Span> {
        self.deliver(self.least(since).1, self.queue_back, since, rng)
    }

    /// Least delays, out and back, at that time.
    fn least(&self, since: Span) -> (Span, Span) {
        let route = self.routes.iter().rfind(|route| route.after <= since);
        route.map_or((self.out, self.back), |route| (route.out, route.back))
    }

    fn load(&self, since: Span) -> f64 {
        self.congestion.map_or(1.0, |rush| {
            let turns = since.as_secs_f64() / rush.period.as_secs_f64();
            let height = (1.0 - libm::cos(turns * core::f64::consts::TAU)) / 2.0;
            1.0 + (rush.peak - 1.0) * height * height
        })
    }
}
