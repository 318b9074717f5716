//! What a template may be made of.
//!
//! Fuel bounds how many steps a template takes, and a bounded writer how much it says; neither
//! bounds what one step makes. `{% set s = s ~ s %}` forty times over is a terabyte. So whatever
//! could make a value larger than its parts, or compare large values again and again, is refused
//! when the template is read, with its line. What is left shows, chooses and repeats; it cannot
//! grow.

use minijinja::{
    machinery::{
        ast::{BinOpKind, CallArg, Expr, Spanned, Stmt},
        parse,
    },
    syntax::SyntaxConfig,
};

/// The longest template, in bytes.
pub const TEMPLATE_BYTES_MAX: usize = 32 * 1024;
/// The most values of a list that is written in a template.
pub const LITERAL_ENTRIES_MAX: usize = 50;
/// The filters there are; src/sink/email/filters.rs has them.
pub(super) const FILTERS: [&str; 9] = [
    "default", "first", "join", "key", "last", "length", "lower", "time", "upper",
];
/// The tests there are.
pub(super) const TESTS: [&str; 6] = ["defined", "even", "none", "number", "odd", "undefined"];

/// What is wrong with a template, and in which line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) line: usize,
    pub(super) message: String,
}

impl Fault {
    fn new(line: u16, message: impl Into<String>) -> Self {
        Self {
            line: line.into(),
            message: message.into(),
        }
    }
}

type Checked = Result<(), Fault>;

/// Jinja's own, but a line that holds a statement alone leaves no empty line.
pub(super) fn syntax() -> SyntaxConfig {
    let built = SyntaxConfig::builder()
        .trim_blocks(true)
        .lstrip_blocks(true)
        .build();
    // Only delimiters can be wrong, and these are the default ones.
    built.unwrap_or_default()
}

/// Checks that `source` is a template, and made of nothing that could grow.
pub(super) fn check(source: &str) -> Checked {
    if source.len() > TEMPLATE_BYTES_MAX {
        return Err(Fault::new(
            1,
            format!("{} bytes; the limit is {TEMPLATE_BYTES_MAX}", source.len()),
        ));
    }
    let parsed = parse(source, "template", syntax()).map_err(|error| Fault {
        line: error.line().unwrap_or(1),
        message: match error.detail() {
            Some(detail) => format!("{}: {detail}", error.kind()),
            None => error.kind().to_string(),
        },
    })?;
    statement(&parsed)
}

fn statements(list: &[Stmt<'_>]) -> Checked {
    list.iter().try_for_each(statement)
}

fn statement(statement: &Stmt<'_>) -> Checked {
    match statement {
        Stmt::Template(template) => statements(&template.children),
        Stmt::EmitRaw(_) => Ok(()),
        Stmt::EmitExpr(emit) => expression(&emit.expr),
        Stmt::IfCond(condition) => {
            expression(&condition.expr)?;
            statements(&condition.true_body)?;
            statements(&condition.false_body)
        }
        Stmt::ForLoop(each) if each.recursive => {
            Err(refused(each, "`recursive`: a loop can't call itself"))
        }
        Stmt::ForLoop(each) => {
            expression(&each.iter)?;
            each.filter_expr.as_ref().map_or(Ok(()), expression)?;
            statements(&each.body)?;
            statements(&each.else_body)
        }
        Stmt::Set(set) => expression(&set.expr),
        Stmt::WithBlock(with) => {
            with.assignments
                .iter()
                .try_for_each(|(_, value)| expression(value))?;
            statements(&with.body)
        }
        Stmt::SetBlock(block) => Err(refused(
            block,
            "`set` around text is not available; write the text where it is to stand",
        )),
        Stmt::AutoEscape(block) => Err(refused(
            block,
            "`autoescape` is not available: values are always escaped in HTML",
        )),
        Stmt::FilterBlock(block) => Err(refused(
            block,
            "`filter` around text is not available; use the filter on a value",
        )),
        Stmt::Block(block) => Err(alone(block, "block")),
        Stmt::Import(import) => Err(alone(import, "import")),
        Stmt::FromImport(import) => Err(alone(import, "from")),
        Stmt::Extends(extends) => Err(alone(extends, "extends")),
        Stmt::Include(include) => Err(alone(include, "include")),
        Stmt::Macro(declared) => Err(alone(declared, "macro")),
        Stmt::CallBlock(call) => Err(alone(call, "call")),
        Stmt::Do(call) => Err(alone(call, "do")),
    }
}

fn alone<T>(node: &Spanned<T>, keyword: &str) -> Fault {
    refused(
        node,
        &format!("`{keyword}` is not available: a template stands alone; write its text here"),
    )
}

fn refused<T>(node: &Spanned<T>, message: &str) -> Fault {
    Fault::new(node.span().start_line, message)
}

fn expression(expr: &Expr<'_>) -> Checked {
    match expr {
        Expr::Var(_) | Expr::Const(_) => Ok(()),
        Expr::GetAttr(get) => expression(&get.expr),
        Expr::GetItem(get) => {
            expression(&get.expr)?;
            expression(&get.subscript_expr)
        }
        Expr::Slice(slice) => {
            expression(&slice.expr)?;
            let bounds = [&slice.start, &slice.stop, &slice.step];
            bounds.into_iter().flatten().try_for_each(expression)
        }
        Expr::UnaryOp(unary) => expression(&unary.expr),
        Expr::BinOp(binary) => {
            let line = binary.span().start_line;
            match binary.op {
                BinOpKind::ScAnd | BinOpKind::ScOr => {}
                BinOpKind::Sub | BinOpKind::Div | BinOpKind::FloorDiv | BinOpKind::Rem => {}
                BinOpKind::Eq
                | BinOpKind::Ne
                | BinOpKind::Lt
                | BinOpKind::Lte
                | BinOpKind::Gt
                | BinOpKind::Gte
                | BinOpKind::In => compared(line, [&binary.left, &binary.right])?,
                BinOpKind::Add | BinOpKind::Mul | BinOpKind::Pow | BinOpKind::Concat => {
                    return Err(Fault::new(
                        line,
                        "`+`, `*`, `**` and `~` are not available, for they make values grow; \
                         write one {{ ... }} after the other",
                    ));
                }
            }
            expression(&binary.left)?;
            expression(&binary.right)
        }
        Expr::Compare(compare) => {
            let mut left = &compare.expr;
            expression(left)?;
            for next in &compare.ops {
                compared(compare.span().start_line, [left, &next.expr])?;
                left = &next.expr;
                expression(left)?;
            }
            Ok(())
        }
        Expr::IfExpr(choice) => {
            expression(&choice.test_expr)?;
            expression(&choice.true_expr)?;
            choice.false_expr.as_ref().map_or(Ok(()), expression)
        }
        Expr::Filter(filter) => {
            known(filter.span().start_line, "filter", filter.name, &FILTERS)?;
            filter.expr.as_ref().map_or(Ok(()), expression)?;
            arguments(&filter.args)
        }
        Expr::Test(test) => {
            known(test.span().start_line, "test", test.name, &TESTS)?;
            expression(&test.expr)?;
            arguments(&test.args)
        }
        Expr::List(list) => constants(list.span().start_line, &list.items),
        Expr::Tuple(tuple) => constants(tuple.span().start_line, &tuple.items),
        Expr::Map(map) => Err(refused(map, "a map can't be written in a template")),
        Expr::Call(call) => Err(refused(
            call,
            "there are no functions to call; see the filters",
        )),
    }
}

/// A comparison costs as much as the smaller of its sides.
fn compared(line: u16, sides: [&Expr<'_>; 2]) -> Checked {
    let is_small = |side: &Expr<'_>| {
        let is_number = |expr: &Expr<'_>| matches!(expr, Expr::Const(_));
        match side {
            Expr::Const(_) | Expr::List(_) | Expr::Tuple(_) => true,
            Expr::UnaryOp(unary) => is_number(&unary.expr),
            _ => false,
        }
    };
    if sides.into_iter().any(is_small) {
        return Ok(());
    }
    Err(Fault::new(
        line,
        "compare with a text, number or list that is written in the template",
    ))
}

fn constants(line: u16, items: &[Expr<'_>]) -> Checked {
    let all_constant = items.iter().all(|item| matches!(item, Expr::Const(_)));
    if all_constant && items.len() <= LITERAL_ENTRIES_MAX {
        return Ok(());
    }
    Err(Fault::new(
        line,
        format!("a list holds up to {LITERAL_ENTRIES_MAX} texts and numbers, and no variables"),
    ))
}

fn arguments(arguments: &[CallArg<'_>]) -> Checked {
    arguments.iter().try_for_each(|argument| match argument {
        CallArg::Pos(value) | CallArg::Kwarg(_, value) => expression(value),
        CallArg::PosSplat(value) | CallArg::KwargSplat(value) => Err(Fault::new(
            value.span().start_line,
            "arguments are written one by one",
        )),
    })
}

fn known(line: u16, kind: &str, name: &str, names: &[&str]) -> Checked {
    if names.contains(&name) {
        return Ok(());
    }
    let names = names.join(", ");
    Err(Fault::new(
        line,
        format!("there is no {kind} `{name}`; there are {names}"),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_shows_chooses_and_repeats_is_accepted() {
        for source in [
            "plain text",
            "{{ event.type }} {{ event.data.key.id|default('none') }}",
            "{% for field in fields if field.changed %}{{ loop.index }}{% else %}-{% endfor %}",
            "{% if digest.count > 10 and event.type in ['a', 'b'] %}x{% elif not y %}z{% endif %}",
            "{% set n = digest.count - 1 %}{% with a = n %}{{ a }}{% endwith %}",
            "{{ 'a' if event.data.op == 'create' else 'b' }} {{ fields[0].after[:10] }}",
            "{% if event.data.amount is defined %}{{ -1 }}{% endif %}{# a comment #}",
            "{% raw %}{{ not a variable }}{% endraw %}",
            "{{ digest.events|length }} {{ fields|join(', ') }} {{ event.time|time }}",
        ] {
            assert_eq!(check(source), Ok(()), "{source}");
        }
    }

    #[test]
    fn what_could_grow_is_refused_with_its_line() {
        for (source, says) in [
            ("{{ a ~ a }}", "make values grow"),
            ("{% set s = s + s %}", "make values grow"),
            ("{{ 'ab' * 1000000 }}", "make values grow"),
            ("{{ 9 ** 9 ** 9 }}", "make values grow"),
            ("{% if (a ~ a) == 'x' %}{% endif %}", "make values grow"),
            ("{{ x[a ~ a] }}", "make values grow"),
            ("{{ x|default(a ~ a) }}", "make values grow"),
            ("{% for x in [a, a] %}{% endfor %}", "no variables"),
            ("{{ [[1]] }}", "no variables"),
            ("{{ {'a': a} }}", "a map"),
            ("{% set s %}{{ s }}{{ s }}{% endset %}", "`set` around text"),
            ("{% macro m() %}{{ m() }}{% endmacro %}", "`macro`"),
            (
                "{% for x in y recursive %}{{ loop(y) }}{% endfor %}",
                "`recursive`",
            ),
            ("{{ range(1000000) }}", "no functions"),
            ("{% for x in range(9) %}{% endfor %}", "no functions"),
            ("{{ namespace(a=1) }}", "no functions"),
            ("{% include 'etc/passwd' %}", "`include`"),
            ("{% extends 'base' %}", "`extends`"),
            ("{% import 'x' as y %}", "`import`"),
            (
                "{% autoescape false %}{{ a }}{% endautoescape %}",
                "always escaped",
            ),
            ("{{ a|safe }}", "no filter `safe`"),
            ("{{ a|replace('', b) }}", "no filter `replace`"),
            ("{% filter upper %}a{% endfilter %}", "`filter` around"),
            (
                "{% if event == event %}{% endif %}",
                "written in the template",
            ),
            (
                "{% if 1 < event < event %}{% endif %}",
                "written in the template",
            ),
            ("{{ a is sameas(b) }}", "no test `sameas`"),
            ("{% if x %}", "syntax error"),
            ("{{ x ", "syntax error"),
        ] {
            let fault = check(&format!("first\nsecond {source}")).expect_err(source);
            assert!(fault.message.contains(says), "{source} gave: {fault:?}");
            assert_eq!(fault.line, 2, "{source}");
        }
    }

    #[test]
    fn a_template_is_bounded_and_nesting_does_not_overflow() {
        let long = "x".repeat(TEMPLATE_BYTES_MAX + 1);
        assert!(check(&long).unwrap_err().message.contains("the limit is"));
        for (open, close) in [("{{ ", " }}"), ("{% if x %}", "{% endif %}")] {
            let inner = if open == "{{ " {
                format!("{}1{}", "(".repeat(10_000), ")".repeat(10_000))
            } else {
                open.repeat(1_400) + &close.repeat(1_400)
            };
            let source = if open == "{{ " {
                format!("{open}{inner}{close}")
            } else {
                inner
            };
            assert!(check(&source).is_err());
        }
    }
}
