//! Numbers drawn at random, the same ones on every machine and in every version.
//!
//! Each draw is a hash (BLAKE3) of what it is for, so that it depends on no draw before it: more samples leave the points
//! that there were, and another parameter leaves the values of the others. What is made of it uses only what IEEE 754
//! rounds alike everywhere: sums, products, quotients and square roots, no exponential of a library.

/// What a draw is for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Draw {
    pub(super) seed: u32,
    /// The point's index.
    pub(super) point: usize,
    /// How often the point was drawn before, and left out.
    pub(super) again: u32,
}

/// Bits of a float's mantissa.
const FRACTION_BITS: u32 = 53;

impl Draw {
    /// 64 bits for a parameter.
    pub(super) fn bits(self, parameter: &str) -> u64 {
        let Self { seed, point, again } = self;
        let hash = blake3::hash(format!("{seed} {point} {again} {parameter}").as_bytes());
        hash.as_bytes().iter().take(8).fold(0, |bits, byte| bits << 8 | u64::from(*byte))
    }
}

/// A number below `count`.
pub(super) fn below(bits: u64, count: u128) -> u128 {
    // The span of 64-bit integers is 2^64 at most, so the product fits.
    (u128::from(bits).saturating_mul(count)) >> 64
}

/// A fraction of 1, in units of 2^-53.
fn fraction(bits: u64) -> u64 {
    bits >> (u64::BITS - FRACTION_BITS)
}

#[expect(clippy::cast_precision_loss, reason = "a fraction has as many bits as a float holds")]
pub(super) fn uniform(bits: u64, low: f64, high: f64) -> f64 {
    let part = fraction(bits) as f64 / (1_u64 << FRACTION_BITS) as f64;
    (low + (high - low) * part).min(high)
}

/// `low` × (`high` / `low`) ^ part: for each bit of the part the root of that order.
pub(super) fn log_uniform(bits: u64, low: f64, high: f64) -> f64 {
    let part = fraction(bits);
    let mut root = high / low;
    let mut value = low;
    for bit in (0..FRACTION_BITS).rev() {
        root = root.sqrt();
        if part >> bit & 1 == 1 {
            value *= root;
        }
    }
    value.min(high)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// These are promised: a change here changes the points of everybody's sweeps.
    #[test]
    fn draws_are_what_they_ever_were() {
        let draw = Draw { seed: 0, point: 0, again: 0 };
        insta::assert_debug_snapshot!((
            draw.bits("args.lr"),
            Draw { point: 1, ..draw }.bits("args.lr"),
            uniform(draw.bits("args.lr"), 0.0, 1.0),
            log_uniform(draw.bits("args.lr"), 1e-5, 1e-1),
            below(draw.bits("args.lr"), 10),
        ));
    }

    #[test]
    fn the_ends_are_the_ends() {
        assert_eq!(uniform(0, -2.0, 3.0).to_bits(), (-2.0_f64).to_bits());
        assert!((2.999_999..=3.0).contains(&uniform(u64::MAX, -2.0, 3.0)));
        assert_eq!(log_uniform(0, 1e-5, 1e-1).to_bits(), 1e-5_f64.to_bits());
        assert!((0.099_999..=0.1).contains(&log_uniform(u64::MAX, 1e-5, 1e-1)));
        let middle = log_uniform(1 << 63, 1e-6, 1e-2);
        assert!((middle / 1e-4 - 1.0).abs() < 1e-12, "{middle}");
        assert_eq!(below(0, 7), 0);
        assert_eq!(below(u64::MAX, 7), 6);
        assert_eq!(below(u64::MAX, 1 << 64), u128::from(u64::MAX));
    }
}
