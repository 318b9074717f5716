//! Exact arithmetic on numbers: in machine words where it fits, in big ones of bounded size where
//! not.

use bigdecimal::{BigDecimal, Zero, num_bigint::BigInt};

use super::{
    QUOTIENT_DIGITS,
    failure::Failure,
    number::{Number, aligned, small},
};

impl Number {
    pub(super) fn negate(&self) -> Result<Self, Failure> {
        Self::int(0).subtract(self)
    }

    pub(super) fn add(&self, other: &Self) -> Result<Self, Failure> {
        if let Some((a, b, scale)) = aligned(self, other)
            && let Some(sum) = a.checked_add(b).and_then(|sum| small(sum, scale))
        {
            return Ok(sum);
        }
        Self::bounded(self.finite()? + other.finite()?)
    }

    pub(super) fn subtract(&self, other: &Self) -> Result<Self, Failure> {
        if let Some((a, b, scale)) = aligned(self, other)
            && let Some(difference) = a.checked_sub(b).and_then(|sum| small(sum, scale))
        {
            return Ok(difference);
        }
        Self::bounded(self.finite()? - other.finite()?)
    }

    pub(super) fn multiply(&self, other: &Self) -> Result<Self, Failure> {
        if let (
            Self::Small { digits, scale },
            Self::Small {
                digits: by,
                scale: by_scale,
            },
        ) = (self, other)
            && let Some(product) = small(i128::from(*digits) * i128::from(*by), scale + by_scale)
        {
            return Ok(product);
        }
        Self::bounded(self.finite()? * other.finite()?)
    }

    /// The quotient, to [`QUOTIENT_DIGITS`] digits behind the point, halves away from zero.
    pub(super) fn divide(&self, by: &Self) -> Result<Self, Failure> {
        let (a, b) = self.whole(by)?;
        let shifted = a * BigInt::from(10).pow(u32::from(QUOTIENT_DIGITS));
        let twice: BigInt = shifted * 2;
        let half = if twice.sign() == b.sign() {
            b.clone()
        } else {
            -b.clone()
        };
        let quotient = (twice + half) / (b * 2);
        Self::bounded(BigDecimal::from_bigint(quotient, QUOTIENT_DIGITS.into()).normalized())
    }

    /// The quotient of whole numbers without its fraction.
    pub(super) fn divide_whole(&self, by: &Self) -> Result<Self, Failure> {
        let (a, b) = self.whole(by)?;
        Self::bounded(BigDecimal::from_bigint(a / b, 0))
    }

    /// What is left of a division without fraction; it has the sign of the number that is divided.
    pub(super) fn remainder(&self, by: &Self) -> Result<Self, Failure> {
        let scale = self.scale().max(by.scale());
        let (a, b) = self.whole(by)?;
        Self::bounded(BigDecimal::from_bigint(a % b, scale))
    }

    /// Both as whole numbers, times the same power of ten; the second is not zero.
    fn whole(&self, by: &Self) -> Result<(BigInt, BigInt), Failure> {
        let scale = self.scale().max(by.scale());
        let whole = |number: &Self| -> Result<BigInt, Failure> {
            Ok(number.finite()?.with_scale(scale).into_bigint_and_scale().0)
        };
        let (a, b) = (whole(self)?, whole(by)?);
        if b.is_zero() {
            return Err(Failure::DivisionByZero);
        }
        Ok((a, b))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::expr::number::TOO_LARGE;

    fn number(text: &str) -> Number {
        Number::parse(text).unwrap()
    }

    #[test]
    fn arithmetic_is_exact() {
        let text = |number: Result<Number, Failure>| number.unwrap().to_string();
        assert_eq!(text(number("0.1").add(&number("0.2"))), "0.3");
        assert_eq!(
            text(number("9223372036854775807").add(&number("1"))),
            "9223372036854775808"
        );
        assert_eq!(
            text(number("999999999999999999").multiply(&number("999999999999999999"))),
            "999999999999999998000000000000000001"
        );
        assert_eq!(
            text(number("-9223372036854775808").negate()),
            "9223372036854775808"
        );
        assert_eq!(text(number("5").subtract(&number("7.25"))), "-2.25");
    }

    #[test]
    fn quotients_are_rounded_to_a_stated_scale() {
        let text = |number: Result<Number, Failure>| number.unwrap().to_string();
        assert_eq!(
            text(number("1").divide(&number("3"))),
            "0.33333333333333333333"
        );
        assert_eq!(
            text(number("-2").divide(&number("3"))),
            "-0.66666666666666666667"
        );
        assert_eq!(
            text(number("2").divide(&number("-3"))),
            "-0.66666666666666666667"
        );
        assert_eq!(text(number("7.5").divide(&number("2.5"))), "3");
        assert_eq!(text(number("-7").divide_whole(&number("2"))), "-3");
        assert_eq!(text(number("-7").remainder(&number("2"))), "-1");
        assert_eq!(text(number("7.5").remainder(&number("2"))), "1.5");
        let zero = Err(Failure::DivisionByZero);
        assert_eq!(number("1").divide(&number("0.00")), zero);
        assert_eq!(number("1").remainder(&number("0")), zero);
    }

    #[test]
    fn what_grows_too_large_fails() {
        let large = number(&"9".repeat(600));
        assert_eq!(large.multiply(&large), Err(TOO_LARGE));
        assert_eq!(number("1e-600").multiply(&number("1e-600")), Err(TOO_LARGE));
        assert_eq!(number("NaN").add(&number("1")), Err(TOO_LARGE));
    }
}
