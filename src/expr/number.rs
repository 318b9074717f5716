//! Exact decimal numbers of bounded size: integers, `numeric`, and the numbers of JSON.

use std::{
    cmp::Ordering,
    fmt,
    hash::{Hash, Hasher},
    str::FromStr,
    sync::Arc,
};

use bigdecimal::{BigDecimal, num_bigint::BigInt};

use super::{NUMBER_DIGITS_MAX, failure::Failure};

/// Digits of a number that is kept in a machine word.
const SMALL_DIGITS_MAX: usize = 18;

/// A number as Postgres' `numeric` knows it. Equal and ordered by value: 1.0 is 1, and NaN equals
/// itself and is the greatest.
#[derive(Clone, Debug)]
pub(super) enum Number {
    NegativeInfinity,
    /// `digits / 10^scale`; `scale` is at most [`SMALL_DIGITS_MAX`].
    Small {
        digits: i64,
        scale: u8,
    },
    /// Of at most [`NUMBER_DIGITS_MAX`] digits on either side of the point.
    Big(Arc<BigDecimal>),
    Infinity,
    NaN,
}

pub(super) const TOO_LARGE: Failure = Failure::OutOfRange { what: "a number" };

impl Number {
    pub(super) fn int(value: i64) -> Self {
        Self::Small {
            digits: value,
            scale: 0,
        }
    }

    /// Reads what Postgres or JSON spells as a number; `None` if it is none or is too large.
    pub(super) fn parse(text: &str) -> Option<Self> {
        if let Some(small) = parse_small(text) {
            return Some(small);
        }
        match text {
            "NaN" => return Some(Self::NaN),
            "Infinity" => return Some(Self::Infinity),
            "-Infinity" => return Some(Self::NegativeInfinity),
            _ => {}
        }
        // Bounded before it is built: 1e999999999 is a short text.
        let (mantissa, exponent) = match text.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, i64::from_str(exponent).ok()?),
            None => (text, 0),
        };
        if mantissa.len() > 2 * NUMBER_DIGITS_MAX + 2
            || exponent.unsigned_abs() > NUMBER_DIGITS_MAX as u64
            || !mantissa.bytes().any(|b| b.is_ascii_digit())
            || !mantissa
                .bytes()
                .all(|b| b.is_ascii_digit() || b"+-.".contains(&b))
        {
            return None;
        }
        let value = BigDecimal::from_str(text).ok()?;
        Self::bounded(value).ok()
    }

    /// The number as a double, rounded as Postgres does.
    pub(super) fn to_f64(&self) -> f64 {
        match self {
            Self::NegativeInfinity => f64::NEG_INFINITY,
            Self::Infinity => f64::INFINITY,
            Self::NaN => f64::NAN,
            Self::Small { digits, scale: 0 } => *digits as f64,
            _ => self.to_string().parse().unwrap_or(f64::NAN),
        }
    }

    /// Digits behind the point that are not trailing zeros; `None` for the infinities and NaN.
    pub(super) fn fraction_digits(&self) -> Option<i64> {
        let value = self.big()?.normalized();
        Some(value.fractional_digit_count().max(0))
    }

    /// With exactly `scale` digits behind the point, as `numeric(p, scale)` is spelled; `None` if
    /// it has more.
    pub(super) fn to_scale(&self, scale: u16) -> Option<String> {
        let scale = i64::from(scale);
        if self.fraction_digits()? > scale {
            return None;
        }
        Some(self.big()?.with_scale(scale).to_plain_string())
    }

    pub(super) fn scale(&self) -> i64 {
        match self {
            Self::Small { scale, .. } => i64::from(*scale),
            Self::Big(big) => big.fractional_digit_count(),
            _ => 0,
        }
    }

    fn big(&self) -> Option<BigDecimal> {
        match self {
            Self::Small { digits, scale } => {
                Some(BigDecimal::new(BigInt::from(*digits), i64::from(*scale)))
            }
            Self::Big(big) => Some(big.as_ref().clone()),
            _ => None,
        }
    }

    pub(super) fn finite(&self) -> Result<BigDecimal, Failure> {
        self.big().ok_or(TOO_LARGE)
    }

    pub(super) fn bounded(value: BigDecimal) -> Result<Self, Failure> {
        let limit = NUMBER_DIGITS_MAX as i64;
        let scale = value.fractional_digit_count();
        let digits = i64::try_from(value.digits()).unwrap_or(i64::MAX);
        if scale.abs() > limit || digits.saturating_sub(scale) > limit {
            return Err(TOO_LARGE);
        }
        let (whole, scale) = value.into_bigint_and_scale();
        if let (Ok(digits), Ok(scale)) = (i64::try_from(&whole), u8::try_from(scale))
            && usize::from(scale) <= SMALL_DIGITS_MAX
        {
            return Ok(Self::Small { digits, scale });
        }
        Ok(Self::Big(Arc::new(BigDecimal::new(whole, scale))))
    }
}

/// Digits, at most one point among or behind them, and nothing else, in a machine word.
fn parse_small(text: &str) -> Option<Number> {
    let (negative, unsigned) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    if unsigned.is_empty() || unsigned.len() > SMALL_DIGITS_MAX + 1 {
        return None;
    }
    let (mut digits, mut scale, mut point, mut count) = (0_i64, 0_u8, false, 0);
    for byte in unsigned.bytes() {
        match byte {
            b'0'..=b'9' => {
                count += 1;
                if count > SMALL_DIGITS_MAX {
                    return None;
                }
                digits = digits * 10 + i64::from(byte - b'0');
                scale += u8::from(point);
            }
            b'.' if !point => point = true,
            _ => return None,
        }
    }
    if count == 0 {
        return None;
    }
    Some(Number::Small {
        digits: if negative { -digits } else { digits },
        scale,
    })
}

/// `value / 10^scale` if it fits in a machine word, perhaps without trailing zeros.
pub(super) fn small(mut value: i128, mut scale: u8) -> Option<Number> {
    while usize::from(scale) > SMALL_DIGITS_MAX && value % 10 == 0 {
        value /= 10;
        scale -= 1;
    }
    if usize::from(scale) > SMALL_DIGITS_MAX {
        return None;
    }
    let digits = i64::try_from(value).ok()?;
    Some(Number::Small { digits, scale })
}

/// Two small numbers with the same scale. It can't overflow: 19 digits times 18 fit in 38.
pub(super) fn aligned(a: &Number, b: &Number) -> Option<(i128, i128, u8)> {
    let (
        Number::Small { digits: a, scale },
        Number::Small {
            digits: b,
            scale: other,
        },
    ) = (a, b)
    else {
        return None;
    };
    let (a, b) = (i128::from(*a), i128::from(*b));
    Some(match scale.cmp(other) {
        Ordering::Equal => (a, b, *scale),
        Ordering::Less => (a * 10_i128.pow(u32::from(other - scale)), b, *other),
        Ordering::Greater => (a, b * 10_i128.pow(u32::from(scale - other)), *scale),
    })
}

impl PartialEq for Number {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Number {}

/// Equal numbers hash alike, however they are spelled: without the zeros at their end.
impl Hash for Number {
    fn hash<H: Hasher>(&self, state: &mut H) {
        match self {
            Self::Small { digits, scale } => shortest(*digits, (*scale).into()).hash(state),
            Self::Big(big) => {
                let (digits, scale) = big.normalized().into_bigint_and_scale();
                match i64::try_from(&digits) {
                    Ok(digits) => shortest(digits, scale).hash(state),
                    Err(_) => (digits, scale).hash(state),
                }
            }
            _ => self.rank().hash(state),
        }
    }
}

fn shortest(mut digits: i64, mut scale: i64) -> (i64, i64) {
    if digits == 0 {
        return (0, 0);
    }
    while digits % 10 == 0 {
        digits /= 10;
        scale -= 1;
    }
    (digits, scale)
}

impl PartialOrd for Number {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Number {
    fn cmp(&self, other: &Self) -> Ordering {
        if let Some((a, b, _)) = aligned(self, other) {
            return a.cmp(&b);
        }
        match (self.big(), other.big()) {
            (Some(a), Some(b)) => a.cmp(&b),
            _ => self.rank().cmp(&other.rank()),
        }
    }
}

impl Number {
    fn rank(&self) -> u8 {
        match self {
            Self::NegativeInfinity => 0,
            Self::Small { .. } | Self::Big(_) => 1,
            Self::Infinity => 2,
            Self::NaN => 3,
        }
    }
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NegativeInfinity => f.write_str("-Infinity"),
            Self::Infinity => f.write_str("Infinity"),
            Self::NaN => f.write_str("NaN"),
            Self::Small { digits, scale: 0 } => write!(f, "{digits}"),
            Self::Small { digits, scale } => {
                let width = usize::from(*scale) + 1;
                let text = format!("{:0width$}", digits.unsigned_abs());
                let (whole, fraction) = text.split_at(text.len() - usize::from(*scale));
                let sign = if *digits < 0 { "-" } else { "" };
                write!(f, "{sign}{whole}.{fraction}")
            }
            Self::Big(big) => big.write_plain_string(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher};

    use super::*;

    fn number(text: &str) -> Number {
        Number::parse(text).unwrap()
    }

    #[test]
    fn numbers_are_equal_by_value_and_nan_is_the_greatest() {
        assert_eq!(number("1.50"), number("1.5"));
        assert_eq!(number("1e2"), number("100.000"));
        assert_eq!(number("-0"), number("0"));
        assert_eq!(number("NaN"), number("NaN"));
        let ascending = [
            "-Infinity",
            "-123456789012345678901234567890",
            "-1.5",
            "0.00000000000000000000000001",
            "999999999999999999",
            "9223372036854775807",
            "9223372036854775807.1",
            "1e500",
            "Infinity",
            "NaN",
        ];
        for pair in ascending.windows(2) {
            assert!(number(pair[0]) < number(pair[1]), "{pair:?}");
        }
    }

    #[test]
    fn equal_numbers_hash_alike() {
        let hash = |text| BuildHasherDefault::<DefaultHasher>::default().hash_one(number(text));
        for (one, other) in [
            ("100", "1e2"),
            ("1", "1.0000000000000000000000000000"),
            ("-2.50", "-2.5"),
            ("0", "-0.000000000000000000000000000"),
            (
                "123456789012345678901234567890",
                "1.2345678901234567890123456789e29",
            ),
            ("9223372036854775807", "9223372036854775807.0"),
            ("NaN", "NaN"),
        ] {
            assert_eq!(number(one), number(other));
            assert_eq!(hash(one), hash(other), "{one}, {other}");
        }
        assert_ne!(hash("1"), hash("10"));
    }

    #[test]
    fn what_is_too_large_is_refused_before_it_is_built() {
        for text in [
            "1e200000",
            "1e-200000",
            "1e99999999999999999999",
            &"9".repeat(5000),
        ] {
            assert_eq!(Number::parse(text), None);
        }
        for text in ["", "-", ".", "1.2.3", "abc", "1e", "--1", "0x10", "1 "] {
            assert_eq!(Number::parse(text), None, "{text}");
        }
    }

    #[test]
    fn it_is_spelled_as_numeric_of_a_scale_is() {
        assert_eq!(number("250").to_scale(2).as_deref(), Some("250.00"));
        assert_eq!(number("-0.5").to_scale(2).as_deref(), Some("-0.50"));
        assert_eq!(number("1.500").to_scale(1).as_deref(), Some("1.5"));
        assert_eq!(number("1.25").to_scale(1), None);
        assert_eq!(number("1200").to_scale(0).as_deref(), Some("1200"));
        assert_eq!(number("NaN").to_scale(0), None);
    }
}
