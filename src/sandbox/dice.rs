//! A small seeded source of chance (SplitMix64).
//!
//! The sandbox's data is quoted in documents and compared in tests, so one seed must give the same requisitions for
//! ever. The `rand` crate promises that for no generator of its own across versions; these dozen lines do.

/// A seeded stream of numbers. Equal seeds give equal streams, on every machine and in every version.
#[derive(Clone, Debug)]
pub(crate) struct Dice(u64);

impl Dice {
    /// A stream of its own for every pair of seed and number, so that the n-th call draws the same whatever calls came
    /// before it.
    pub(crate) fn new(seed: u64, stream: u64) -> Self {
        let mut dice = Self(seed ^ stream.wrapping_mul(0xA24B_AED4_963E_E407));
        dice.next();
        dice
    }

    /// The next 64 bits.
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number below `bound`; 0 when `bound` is 0.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(bound)) >> 64) as u64
    }

    /// An index below `len`; 0 when `len` is 0.
    pub(crate) fn index(&mut self, len: usize) -> usize {
        self.below(len as u64) as usize
    }

    /// A fraction in [0, 1).
    pub(crate) fn fraction(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Whether an event of this probability happens.
    pub(crate) fn happens(&mut self, probability: f64) -> bool {
        self.fraction() < probability
    }

    /// One of the entries; `None` only when there are none.
    pub(crate) fn pick<'a, T>(&mut self, entries: &'a [T]) -> Option<&'a T> {
        entries.get(self.index(entries.len()))
    }

    /// One of the entries, the first ones more often than the last ones.
    pub(crate) fn pick_skewed<'a, T>(&mut self, entries: &'a [T]) -> Option<&'a T> {
        let place = self.fraction() * self.fraction();
        entries.get((place * entries.len() as f64) as usize)
    }

    /// Puts the entries into a random order.
    pub(crate) fn shuffle<T>(&mut self, entries: &mut [T]) {
        for last in (1..entries.len()).rev() {
            entries.swap(last, self.index(last + 1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stream_is_the_published_splitmix64() {
        // First outputs of SplitMix64 seeded with 1234567, as published with the generator.
        let mut dice = Dice(1_234_567);
        assert_eq!(
            [dice.next(), dice.next(), dice.next()],
            [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]
        );
    }

    #[test]
    fn bounds_hold_and_a_shuffle_keeps_everything() {
        let mut dice = Dice::new(7, 1);
        assert!((0..1000).all(|_| dice.below(3) < 3 && dice.fraction() < 1.0));
        assert_eq!(dice.below(0), 0);
        let mut all: Vec<u32> = (0..100).collect();
        dice.shuffle(&mut all);
        assert!(!all.is_sorted());
        all.sort_unstable();
        assert_eq!(all, (0..100).collect::<Vec<u32>>());
    }
}
