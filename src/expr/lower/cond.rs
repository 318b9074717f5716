//! Conditions of SQL's three values, put together and folded as they are.

use super::LOWERED_BYTES_MAX;

/// A condition: known beforehand (`None`: it fails), or SQL in parentheses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Cond {
    Known(Option<bool>),
    Sql(String),
}

impl Cond {
    pub(super) const TRUE: Self = Self::Known(Some(true));
    pub(super) const FALSE: Self = Self::Known(Some(false));
    pub(super) const FAILS: Self = Self::Known(None);

    pub(super) fn sql(self) -> String {
        match self {
            Self::Known(Some(value)) => value.to_string(),
            Self::Known(None) => "null::pg_catalog.bool".to_owned(),
            Self::Sql(sql) => sql,
        }
    }

    pub(super) fn is_too_long(&self) -> bool {
        matches!(self, Self::Sql(sql) if sql.len() > LOWERED_BYTES_MAX)
    }

    pub(super) fn not(self) -> Self {
        match self {
            Self::Known(value) => Self::Known(value.map(|value| !value)),
            Self::Sql(sql) => Self::Sql(format!("(not {sql})")),
        }
    }

    pub(super) fn and(parts: Vec<Self>) -> Self {
        Self::junction(parts, false, " and ")
    }

    pub(super) fn or(parts: Vec<Self>) -> Self {
        Self::junction(parts, true, " or ")
    }

    /// One that is `decides` settles it, and the opposite does not matter.
    fn junction(parts: Vec<Self>, decides: bool, word: &str) -> Self {
        if parts.contains(&Self::Known(Some(decides))) {
            return Self::Known(Some(decides));
        }
        let mut left: Vec<Self> = parts;
        left.retain(|part| *part != Self::Known(Some(!decides)));
        left.dedup();
        if left.len() == 1 {
            return left.swap_remove(0);
        }
        if left.is_empty() {
            return Self::Known(Some(!decides));
        }
        if left.iter().all(|part| *part == Self::FAILS) {
            return Self::FAILS;
        }
        let texts: Vec<String> = left.into_iter().map(Self::sql).collect();
        Self::Sql(format!("({})", texts.join(word)))
    }

    /// `condition ? then : otherwise`.
    pub(super) fn choose(condition: Self, then: Self, otherwise: Self) -> Self {
        match condition {
            Self::Known(Some(true)) => then,
            Self::Known(Some(false)) => otherwise,
            Self::Known(None) => Self::FAILS,
            Self::Sql(condition) => Self::Sql(format!(
                "(case when {condition} then {} when not {condition} then {} end)",
                then.sql(),
                otherwise.sql()
            )),
        }
    }

    /// Fails where one of `needed` is not true; else it is as it is.
    pub(super) fn given(self, needed: &[String]) -> Self {
        if needed.is_empty() || self == Self::FAILS {
            return self;
        }
        let needed = needed.join(" and ");
        Self::Sql(format!("(case when {needed} then {} end)", self.sql()))
    }

    /// Fails where `fails` is true, which is never null.
    pub(super) fn unless(self, fails: Self) -> Self {
        match fails {
            Self::Known(Some(true)) => Self::FAILS,
            Self::Known(_) => self,
            Self::Sql(fails) => Self::Sql(format!(
                "(case when {fails} then null else {} end)",
                self.sql()
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_known_is_folded() {
        let x = || Cond::Sql("x".to_owned());
        assert_eq!(Cond::and(vec![Cond::TRUE, x()]), x());
        assert_eq!(Cond::and(vec![Cond::FALSE, Cond::FAILS, x()]), Cond::FALSE);
        assert_eq!(Cond::or(vec![Cond::TRUE, Cond::FAILS]), Cond::TRUE);
        assert_eq!(Cond::or(vec![Cond::FALSE, Cond::FAILS]), Cond::FAILS);
        assert_eq!(Cond::and(vec![]), Cond::TRUE);
        assert_eq!(
            Cond::and(vec![x(), Cond::FAILS]).sql(),
            "(x and null::pg_catalog.bool)"
        );
        assert_eq!(Cond::FAILS.not(), Cond::FAILS);
        assert_eq!(Cond::choose(Cond::FAILS, x(), x()), Cond::FAILS);
        assert_eq!(x().unless(Cond::TRUE), Cond::FAILS);
    }
}
