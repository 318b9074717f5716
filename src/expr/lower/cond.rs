//! Conditions of SQL's three values, put together and folded as they are.

use super::LOWERED_BYTES_MAX;

/// A condition: known beforehand (`None`: it fails), or SQL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Cond {
    Known(Option<bool>),
    Sql(Judged),
}

/// A condition in SQL, in up to three spellings. Where only one outcome matters, a shorter one does
/// not tell the other two apart: a trigger's WHEN is read anew by every statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Judged {
    /// True, false or null; in parentheses, as the others.
    exact: String,
    /// True in the same cases.
    holds: Option<String>,
    /// True where it is false.
    is_false: Option<String>,
}

impl Judged {
    fn holds(&self) -> &str {
        self.holds.as_ref().unwrap_or(&self.exact)
    }

    fn is_false(&self) -> String {
        let given = self.is_false.clone();
        given.unwrap_or_else(|| format!("(not {})", self.exact))
    }
}

impl Cond {
    pub(super) const TRUE: Self = Self::Known(Some(true));
    pub(super) const FALSE: Self = Self::Known(Some(false));
    pub(super) const FAILS: Self = Self::Known(None);

    /// A boolean expression in parentheses, or a call.
    pub(super) fn of(exact: String) -> Self {
        Self::Sql(Judged {
            exact,
            holds: None,
            is_false: None,
        })
    }

    /// A boolean expression of which null counts as false.
    pub(super) fn null_is_false(sql: String) -> Self {
        Self::Sql(Judged {
            exact: format!("coalesce({sql}, false)"),
            is_false: Some(format!("({sql} is not true)")),
            holds: Some(sql),
        })
    }

    /// True, false or null as it is.
    pub(super) fn sql(self) -> String {
        match self {
            Self::Known(Some(value)) => value.to_string(),
            Self::Known(None) => "null::pg_catalog.bool".to_owned(),
            Self::Sql(judged) => judged.exact,
        }
    }

    /// True in the same cases, and in others false or null.
    pub(super) fn holds(self) -> String {
        match self {
            Self::Sql(judged) => judged.holds().to_owned(),
            known => known.sql(),
        }
    }

    pub(super) fn is_too_long(&self) -> bool {
        matches!(self, Self::Sql(judged) if judged.exact.len() > LOWERED_BYTES_MAX)
    }

    pub(super) fn not(self) -> Self {
        match self {
            Self::Known(value) => Self::Known(value.map(|value| !value)),
            Self::Sql(judged) => Self::Sql(Judged {
                exact: format!("(not {})", judged.exact),
                holds: Some(judged.is_false()),
                is_false: Some(judged.holds().to_owned()),
            }),
        }
    }

    pub(super) fn and(parts: Vec<Self>) -> Self {
        Self::junction(parts, false)
    }

    pub(super) fn or(parts: Vec<Self>) -> Self {
        Self::junction(parts, true)
    }

    /// One that is `decides` settles it, and the opposite does not matter.
    fn junction(parts: Vec<Self>, decides: bool) -> Self {
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
        let (word, opposite) = if decides {
            ("or", "and")
        } else {
            ("and", "or")
        };
        let joined = |spelled: fn(&Self) -> String, word: &str| {
            let texts: Vec<String> = left.iter().map(spelled).collect();
            format!("({})", texts.join(&format!(" {word} ")))
        };
        Self::Sql(Judged {
            exact: joined(|part| part.clone().sql(), word),
            holds: Some(joined(|part| part.clone().holds(), word)),
            is_false: Some(joined(|part| part.clone().not().holds(), opposite)),
        })
    }

    /// `condition ? then : otherwise`.
    pub(super) fn choose(condition: Self, then: Self, otherwise: Self) -> Self {
        match condition {
            Self::Known(Some(true)) => then,
            Self::Known(Some(false)) => otherwise,
            Self::Known(None) => Self::FAILS,
            Self::Sql(condition) => Self::of(format!(
                "(case when {} then {} when {} then {} end)",
                condition.holds(),
                then.sql(),
                condition.is_false(),
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
        Self::of(format!("(case when {needed} then {} end)", self.sql()))
    }

    /// Fails where `fails` is true.
    pub(super) fn unless(self, fails: Self) -> Self {
        match fails {
            Self::Known(Some(true)) => Self::FAILS,
            Self::Known(_) => self,
            Self::Sql(fails) => Self::of(format!(
                "(case when {} then null else {} end)",
                fails.holds(),
                self.sql()
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn x() -> Cond {
        Cond::of("x".to_owned())
    }

    #[test]
    fn what_is_known_is_folded() {
        assert_eq!(Cond::and(vec![Cond::TRUE, x()]), x());
        assert_eq!(Cond::and(vec![Cond::FALSE, Cond::FAILS, x()]), Cond::FALSE);
        assert_eq!(Cond::or(vec![Cond::TRUE, Cond::FAILS]), Cond::TRUE);
        assert_eq!(Cond::or(vec![Cond::FALSE, Cond::FAILS]), Cond::FAILS);
        assert_eq!(Cond::and(vec![]), Cond::TRUE);
        let with_failure = Cond::and(vec![x(), Cond::FAILS]);
        assert_eq!(with_failure.sql(), "(x and null::pg_catalog.bool)");
        assert_eq!(Cond::FAILS.not(), Cond::FAILS);
        assert_eq!(Cond::choose(Cond::FAILS, x(), x()), Cond::FAILS);
        assert_eq!(x().unless(Cond::TRUE), Cond::FAILS);
    }

    #[test]
    fn where_only_truth_matters_it_is_shorter() {
        let y = || Cond::null_is_false("y".to_owned());
        assert_eq!(y().holds(), "y");
        assert_eq!(y().not().holds(), "(y is not true)");
        assert_eq!(y().not().sql(), "(not coalesce(y, false))");
        assert_eq!(y().not().not().holds(), "y");
        let both = Cond::and(vec![x(), y().not()]);
        assert_eq!(both.clone().holds(), "(x and (y is not true))");
        assert_eq!(both.not().holds(), "((not x) or y)");
    }
}
