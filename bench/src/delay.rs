//! How long a path holds a packet.

/// A small generator (splitmix64): the benchmark's draws are repeatable.
#[derive(Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Uniform in (0, 1).
    pub(crate) fn uniform(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^= z >> 31;
        ((z >> 11) as f64 + 0.5) / (1_u64 << 53) as f64
    }
}

/// One direction of a path: a fixed delay, and a queue whose length is exponentially distributed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Delay {
    pub(crate) fixed_us: f64,
    pub(crate) mean_queue_us: f64,
}

impl Delay {
    pub(crate) const fn new(fixed_us: f64, mean_queue_us: f64) -> Self {
        Self { fixed_us, mean_queue_us }
    }

    /// Nanoseconds for the next packet.
    pub(crate) fn draw(self, random: &mut Random) -> i64 {
        let queue = -self.mean_queue_us * random.uniform().ln();
        ((self.fixed_us + queue) * 1000.0) as i64
    }
}

/// Both directions, and the share of packets lost in each.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Path {
    pub(crate) up: Delay,
    pub(crate) down: Delay,
    pub(crate) loss: f64,
}

impl Path {
    pub(crate) const fn symmetric(fixed_us: f64, mean_queue_us: f64) -> Self {
        Self::new(Delay::new(fixed_us, mean_queue_us), Delay::new(fixed_us, mean_queue_us))
    }

    pub(crate) const fn new(up: Delay, down: Delay) -> Self {
        Self { up, down, loss: 0.0 }
    }

    pub(crate) const fn losing(self, loss: f64) -> Self {
        Self { loss, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Proves that delays have the stated least and mean.
    #[test]
    fn delays_have_the_stated_distribution() {
        let (delay, mut random) = (Delay::new(1000.0, 100.0), Random::new(1));
        let draws: Vec<_> = (0..100_000).map(|_| delay.draw(&mut random)).collect();
        assert!(draws.iter().all(|ns| *ns >= 1_000_000));
        let mean = draws.iter().sum::<i64>() as f64 / draws.len() as f64;
        assert!((mean - 1_100_000.0).abs() < 2_000.0, "mean {mean} ns");
    }
}
