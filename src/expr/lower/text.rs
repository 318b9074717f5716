//! Texts, compared and searched by their bytes: collation "C" is the order of code points.

use super::{
    cond::Cond,
    operand::{Class, NumberForm, Operand, Sql},
    quote::literal,
};
use crate::expr::program::{Case, Constant, Search};

/// The text as an operand that carries no collation of its column.
pub(super) fn by_bytes(operand: &Operand) -> Option<String> {
    match operand {
        Operand::Constant(Constant::Text(text)) => constant(text),
        Operand::Sql(sql) if sql.class == Class::Text => {
            Some(format!("({} collate pg_catalog.\"C\")", sql.text))
        }
        _ => None,
    }
}

/// `None` for what no text of Postgres can hold.
pub(super) fn constant(text: &str) -> Option<String> {
    (!text.contains('\0')).then(|| format!("{}::pg_catalog.text", literal(text)))
}

/// Whether a text holds another. Null fails.
pub(super) fn search(search: Search, a: &Operand, b: &Operand) -> Option<Cond> {
    for side in [a, b] {
        if matches!(side, Operand::Constant(Constant::Null)) {
            return Some(Cond::FAILS);
        }
    }
    let (text, part) = (by_bytes(a)?, by_bytes(b)?);
    let found = match search {
        Search::Contains => {
            format!("pg_catalog.strpos({text}, {part}) operator(pg_catalog.>) '0'::pg_catalog.int4")
        }
        Search::StartsWith => format!("pg_catalog.starts_with({text}, {part})"),
        Search::EndsWith => format!(
            "(pg_catalog.right({text}, pg_catalog.length({part})) collate pg_catalog.\"C\") \
             operator(pg_catalog.=) {part}"
        ),
    };
    let needed: Vec<String> = [a.needed(), b.needed()].concat();
    Some(Cond::of(format!("({found})")).given(&needed))
}

/// The characters of a text.
pub(super) fn size(operand: &Operand) -> Option<Operand> {
    let Operand::Sql(sql) = operand else {
        return None;
    };
    let text = format!("pg_catalog.length({})", by_bytes(operand)?);
    Some(Operand::Sql(Sql::of(
        text,
        Class::Number(NumberForm::Int),
        &[sql],
    )))
}

/// With its ASCII letters in one case, which is all that collation "C" knows of case.
pub(super) fn in_case(case: Case, operand: &Operand) -> Option<Operand> {
    let Operand::Sql(sql) = operand else {
        return None;
    };
    let function = match case {
        Case::Lower => "lower",
        Case::Upper => "upper",
    };
    let text = format!("pg_catalog.{function}({})", by_bytes(operand)?);
    Some(Operand::Sql(Sql::of(text, Class::Text, &[sql])))
}
