//! Numbers by chance that are the same for the same seed (SplitMix64), and the two shapes that data of a chat has.

/// A source of numbers.
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    /// Starts at a seed.
    pub fn new(seed: u64) -> Dice {
        Dice(seed)
    }

    /// Any number.
    pub fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number from 0 to `end` - 1.
    ///
    /// # Panics
    /// If `end` is 0.
    pub fn below(&mut self, end: usize) -> usize {
        (self.roll() % end as u64) as usize
    }

    /// True so many times of a hundred.
    pub fn percent(&mut self, chance: u64) -> bool {
        self.roll() % 100 < chance
    }

    /// One of them.
    ///
    /// # Panics
    /// If there is none.
    pub fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len())]
    }

    /// From 0 to 1, without 1.
    pub fn unit(&mut self) -> f64 {
        (self.roll() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// A rank from 0 to `end` - 1, each as likely as its inverse (Zipf): few are frequent, most are rare.
    pub fn zipf(&mut self, end: usize) -> usize {
        let rank = (end as f64 + 1.0).powf(self.unit()) - 1.0;
        (rank as usize).min(end - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_fall_off_as_their_inverse() {
        let mut dice = Dice::new(1);
        let mut counts = [0_u32; 1000];
        for _ in 0..100_000 {
            counts[dice.zipf(1000)] += 1;
        }
        let (first, tenth) = (f64::from(counts[0]), f64::from(counts[9]));
        assert!((5.0..15.0).contains(&(first / tenth)), "{first} {tenth}");
        assert!(counts[500..].iter().sum::<u32>() > 5_000, "the tail is there");
        assert_eq!(Dice::new(7).roll(), Dice::new(7).roll());
    }
}
