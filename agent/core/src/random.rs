/// Repeatable randomness from a seed (xoshiro256**): nonces and jitter.
///
/// Not a cipher. Nonces need only be unguessable to somebody who has not seen earlier ones from this
/// host; whoever can read the packets can forge answers to plain NTP in any case.
#[derive(Clone, Debug)]
pub struct Random {
    state: [u64; 4],
}

impl Random {
    /// The sequence that `seed` stands for.
    pub fn new(seed: [u8; 32]) -> Self {
        let mut state = [0u64; 4];
        for (word, bytes) in state.iter_mut().zip(seed.chunks_exact(8)) {
            *word = bytes.iter().fold(0, |word, byte| word << 8 | u64::from(*byte));
        }
        if state == [0; 4] {
            // The one state from which the generator never leaves.
            state = [0x9e37_79b9_7f4a_7c15, 1, 2, 3];
        }
        Self { state }
    }

    /// A generator for a part of the whole: different `stream`s give unrelated sequences.
    pub fn from_number(seed: u64, stream: u64) -> Self {
        let mut bytes = [0u8; 32];
        let mut mixed = seed ^ stream.wrapping_mul(0xd134_2543_de82_ef95);
        for chunk in bytes.chunks_exact_mut(8) {
            mixed = mixed.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = mixed;
            z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
            chunk.copy_from_slice(&(z ^ z >> 31).to_be_bytes());
        }
        Self::new(bytes)
    }

    /// 64 random bits.
    pub fn next_u64(&mut self) -> u64 {
        let s = &mut self.state;
        let result = s[1].wrapping_mul(5).rotate_left(7).wrapping_mul(9);
        let t = s[1] << 17;
        s[2] ^= s[0];
        s[3] ^= s[1];
        s[1] ^= s[2];
        s[0] ^= s[3];
        s[2] ^= t;
        s[3] = s[3].rotate_left(45);
        result
    }

    /// Evenly between 0 (inclusive) and 1 (exclusive).
    pub fn unit(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Normally distributed with mean 0 and standard deviation 1 (Box–Muller).
    pub fn normal(&mut self) -> f64 {
        let radius = libm::sqrt(-2.0 * libm::log(1.0 - self.unit()));
        radius * libm::cos(core::f64::consts::TAU * self.unit())
    }

    /// Exponentially distributed with mean 1.
    pub fn exponential(&mut self) -> f64 {
        -libm::log(1.0 - self.unit())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_repeats_and_streams_differ() {
        let take = |mut r: Random| [r.next_u64(), r.next_u64(), r.next_u64()];
        assert_eq!(take(Random::new([7; 32])), take(Random::new([7; 32])));
        assert_ne!(take(Random::from_number(1, 0)), take(Random::from_number(1, 1)));
        assert_ne!(take(Random::new([0; 32])), [0; 3]);
    }

    #[test]
    fn distributions_have_the_moments_they_claim() {
        let mut random = Random::from_number(42, 0);
        let n = 20_000;
        let (mut sum, mut squares, mut waits) = (0.0, 0.0, 0.0);
        for _ in 0..n {
            let x = random.normal();
            sum += x;
            squares += x * x;
            waits += random.exponential();
        }
        let n = f64::from(n);
        assert!((sum / n).abs() < 0.03, "{}", sum / n);
        assert!((squares / n - 1.0).abs() < 0.05, "{}", squares / n);
        assert!((waits / n - 1.0).abs() < 0.03, "{}", waits / n);
    }
}
