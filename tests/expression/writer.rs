//! Writes expressions and rows by chance, from a seed: the same seed gives the same ones.

use proptest::prelude::ProptestConfig;

/// So many cases, or more if PROPTEST_CASES says so; what failed is told with its seed, and no file
/// is written.
pub(crate) fn cases(least: u32) -> ProptestConfig {
    let config = ProptestConfig::default();
    ProptestConfig {
        cases: config.cases.max(least),
        failure_persistence: None,
        ..config
    }
}

/// SplitMix64, so that a seed alone tells what was written.
pub(crate) struct Writer(pub(crate) u64);

impl Writer {
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((mixed ^ (mixed >> 31)) % limit as u64) as usize
    }

    pub(crate) fn pick<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.below(of.len())]
    }

    /// A condition of at most this many levels, over `leaf` conditions.
    pub(crate) fn condition(
        &mut self,
        levels: usize,
        leaf: &dyn Fn(&mut Self) -> String,
    ) -> String {
        if levels == 0 {
            return leaf(self);
        }
        let part = |writer: &mut Self| writer.condition(levels - 1, leaf);
        match self.below(7) {
            0 | 1 => {
                let (a, b) = (part(self), part(self));
                format!("({a} && {b})")
            }
            2 | 3 => {
                let (a, b) = (part(self), part(self));
                format!("({a} || {b})")
            }
            4 => format!("!({})", part(self)),
            5 => {
                let (a, b, c) = (part(self), part(self), part(self));
                format!("({a} ? {b} : {c})")
            }
            _ => leaf(self),
        }
    }
}
