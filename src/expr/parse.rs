//! From text to a syntax tree, by the parser of the `cel` crate, which is bounded here first: its
//! recursion is on the stack, and a stack that overflows ends the process.

use std::sync::Arc;

use cel::{
    IdedExpr,
    common::ast::{Expr, SourceInfo},
    parser::pratt_parser::{Lexer, PrattParser, Token, TokenKind},
};

use super::{SOURCE_BYTES_MAX, SOURCE_DEPTH_MAX, problem::Problem};

/// What the parser reports at most before it gives up; the first problems explain the others.
const PROBLEMS_MAX: u32 = 10;
/// Nodes that macros may expand to; a text of 4 KiB has fewer.
const NODES_MAX: usize = 20_000;

/// Levels of a tree that the parser may build, so that copying and dropping it is safe. Only what
/// is within [`SOURCE_DEPTH_MAX`] is used.
const HEIGHT_MAX: usize = 2 * SOURCE_DEPTH_MAX;

/// A parsed expression: the tree, and where its nodes are in the text.
pub(super) struct Parsed<'s> {
    pub(super) tree: IdedExpr,
    pub(super) places: Places<'s>,
}

/// Where the nodes of a tree are in the text.
pub(super) struct Places<'s> {
    pub(super) source: &'s str,
    info: Option<Arc<SourceInfo>>,
}

impl Places<'_> {
    /// The first byte of a node's token: of an operator, a literal, a name, or the `.` or `(` of a
    /// selection or call.
    pub(super) fn offset(&self, id: u64) -> usize {
        let range = self.info.as_ref().and_then(|info| info.offset_for(id));
        range.map_or(0, |(start, _)| start as usize)
    }

    /// Where the selected name begins whose `.` is at `offset`.
    pub(super) fn after_dot(&self, offset: usize) -> usize {
        let rest = self.source.get(offset + 1..).unwrap_or_default();
        offset + 1 + (rest.len() - rest.trim_start().len())
    }

    /// Where the name of a call begins whose `(` is at `offset`.
    pub(super) fn before_parenthesis(&self, offset: usize) -> usize {
        let before = self.source.get(..offset).unwrap_or_default().trim_end();
        before
            .trim_end_matches(|c: char| c.is_ascii_alphanumeric() || c == '_')
            .len()
    }

    /// The text of a number literal, with its sign: the tree holds a rounded `f64` of it.
    pub(super) fn number(&self, id: u64) -> Option<String> {
        let rest = self.source.get(self.offset(id)..)?;
        let mut lexer = Lexer::new(rest);
        let mut text = String::new();
        for _ in 0..rest.len() {
            let token = lexer.lex();
            match token.kind {
                TokenKind::TokMinus => text.push('-'),
                TokenKind::TokWhitespace | TokenKind::TokComment => {}
                TokenKind::TokInt | TokenKind::TokFloat => {
                    text.push_str(rest.get(token.start..token.end)?);
                    return Some(text);
                }
                _ => return None,
            }
        }
        None
    }

    pub(super) fn problem(&self, offset: usize, message: String, help: String) -> Problem {
        Problem::at(self.source, offset, message, help)
    }
}

/// Parses `source`, after it was found to be short and flat enough.
pub(super) fn parse(source: &str) -> Result<Parsed<'_>, Vec<Problem>> {
    bound(source).map_err(|problem| vec![problem])?;
    let tree = parser().parse(source).map_err(|errors| {
        errors
            .errors
            .iter()
            .map(|error| syntax_problem(source, error))
            .collect::<Vec<_>>()
    })?;
    // The parser tells the places of its nodes only together with an error. So it gets one, behind
    // the end: up to there it does the same as before and numbers the nodes alike.
    let info = parser()
        .parse(&format!("{source}\n)"))
        .err()
        .and_then(|errors| errors.errors.into_iter().find_map(|e| e.source_info));
    let places = Places { source, info };
    if let Some(node) = beyond(&tree, SOURCE_DEPTH_MAX) {
        return Err(vec![too_deep(source, places.offset(node))]);
    }
    Ok(Parsed { tree, places })
}

fn parser() -> PrattParser {
    PrattParser::new()
        .max_recursion_depth(SOURCE_DEPTH_MAX as u16 * 2)
        .error_recovery_limit(PROBLEMS_MAX)
        .error_reporting_limit(PROBLEMS_MAX)
        .max_expression_node_count(NODES_MAX)
        .enable_variadic_operator_asts(true)
}

/// What is known of the tree of one pair of brackets, while its tokens go by. Heights are close to
/// those of the real tree, which is measured exactly when it is there.
#[derive(Default)]
struct Group {
    /// Of the parts that `&&`, `||`, `,`, `?` and `:` have ended.
    highest: usize,
    /// Of the operands so far: each operator is a level above those before it.
    left: usize,
    /// Of the operand that is being read: each selection and call is a level.
    operand: usize,
    /// Each `?` nests what follows it.
    conditionals: usize,
}

impl Group {
    fn height(&self) -> usize {
        self.highest.max(self.left).max(self.operand) + self.conditionals
    }

    fn end_part(&mut self) {
        self.highest = self.highest.max(self.left).max(self.operand);
        self.left = 0;
        self.operand = 0;
    }
}

/// Refuses what is too long, or would be a tree too deep to be walked, by the parser's own tokens.
fn bound(source: &str) -> Result<(), Problem> {
    if source.len() > SOURCE_BYTES_MAX {
        return Err(Problem::at(
            source,
            SOURCE_BYTES_MAX,
            format!(
                "the expression has {} bytes; the limit is {SOURCE_BYTES_MAX}",
                source.len()
            ),
            "split it: several event types, constraints or subscriptions can share the work",
        ));
    }
    let mut groups = vec![Group::default()];
    let mut lexer = Lexer::new(source);
    // Every token but the last has a byte at least.
    for _ in 0..=source.len() {
        let token = lexer.lex();
        if token.kind == TokenKind::TokEnd {
            break;
        }
        measure(&token, &mut groups);
        let nested: usize = groups.iter().map(|group| group.conditionals + 1).sum();
        let height = groups.last().map_or(0, Group::height);
        if nested > SOURCE_DEPTH_MAX || height > HEIGHT_MAX {
            return Err(too_deep(source, token.start));
        }
    }
    Ok(())
}

fn measure(token: &Token, groups: &mut Vec<Group>) {
    use TokenKind::{
        TokAsterisk, TokColon, TokComma, TokDot, TokEqualEqual, TokExclamation,
        TokExclamationEqual, TokGreater, TokGreaterEqual, TokIn, TokLeftBrace, TokLeftBracket,
        TokLeftParen, TokLess, TokLessEqual, TokLogicalAnd, TokLogicalOr, TokMinus, TokPercent,
        TokPlus, TokQuestion, TokRightBrace, TokRightBracket, TokRightParen, TokSlash,
    };
    let is_inside = groups.len() > 1;
    let Some(group) = groups.last_mut() else {
        return;
    };
    match token.kind {
        TokLeftParen | TokLeftBracket | TokLeftBrace => groups.push(Group::default()),
        TokRightParen | TokRightBracket | TokRightBrace if is_inside => {
            let inner = groups.pop().map_or(0, |closed| closed.height());
            if let Some(group) = groups.last_mut() {
                group.operand = group.operand.max(inner) + 1;
            }
        }
        TokDot => group.operand += 1,
        // What these separate is beside each other.
        TokLogicalAnd | TokLogicalOr | TokComma | TokColon => group.end_part(),
        TokQuestion => {
            group.end_part();
            group.conditionals += 1;
        }
        TokAsterisk | TokEqualEqual | TokExclamation | TokExclamationEqual | TokGreater
        | TokGreaterEqual | TokIn | TokLess | TokLessEqual | TokMinus | TokPercent | TokPlus
        | TokSlash => {
            group.left = group.left.max(group.operand) + 1;
            group.operand = 0;
        }
        _ => {}
    }
}

fn too_deep(source: &str, offset: usize) -> Problem {
    Problem::at(
        source,
        offset,
        format!(
            "the expression is nested deeper than {SOURCE_DEPTH_MAX}: brackets, and operators in \
             a row that are not `&&` or `||`, count"
        ),
        "use fewer brackets, or `in [...]` instead of many conditions",
    )
}

/// The first node that is more than so many levels down. It looks no further down itself.
fn beyond(node: &IdedExpr, levels: usize) -> Option<u64> {
    let Some(below) = levels.checked_sub(1) else {
        return Some(node.id);
    };
    let next = |node: &IdedExpr| beyond(node, below);
    match &node.expr {
        Expr::Call(call) => call
            .target
            .iter()
            .map(|target| next(target))
            .chain(call.args.iter().map(next))
            .find_map(|found| found),
        Expr::Comprehension(made) => next(&made.iter_range).or_else(|| next(&made.loop_step)),
        Expr::List(list) => list.elements.iter().find_map(next),
        Expr::Select(select) => next(&select.operand),
        // Maps and messages are refused without being looked into.
        Expr::Map(_) | Expr::Struct(_) => None,
        Expr::Ident(_) | Expr::Literal(_) | Expr::Unspecified => None,
    }
}

/// The parser's error in words for an author.
fn syntax_problem(source: &str, error: &cel::ParseError) -> Problem {
    let offset = byte_offset(source, error.pos);
    let said = error.msg.trim_start_matches("Syntax error: ");
    let (message, help) = if said.contains("'<EOF>'") || said.contains("input <EOF>") {
        (
            "the expression ends too early".to_owned(),
            "write what is missing: a value, or a closing bracket",
        )
    } else if let Some(rest) = said.strip_suffix(" expecting <EOF>") {
        let found = rest
            .trim_start_matches("mismatched input ")
            .trim_matches('\'');
        (
            format!("`{found}` is not expected here; the expression could have ended before it"),
            match found {
                "=" => "equality is written `==`",
                "and" | "AND" => "and is written `&&`",
                "or" | "OR" => "or is written `||`",
                "&" => "and is written `&&`",
                "|" => "or is written `||`",
                _ => "join conditions with `&&` or `||`",
            },
        )
    } else {
        let help = match said {
            "invalid int literal" => {
                "for a whole number of more than 18 digits write `.0` behind it"
            }
            "invalid double literal" => "a literal is less than 1e308; write one of fewer digits",
            "argument must be a simple name" => "as in `changed.exists(c, c == 'status')`",
            "unexpected character" if source[offset..].starts_with(['=', '&', '|']) => {
                "the operators are `==`, `&&` and `||`"
            }
            _ => "",
        };
        (said.to_owned(), help)
    };
    Problem::at(source, offset, message, help)
}

/// The parser counts lines and bytes of a line from 1; (0, 0) is nowhere.
fn byte_offset(source: &str, (line, column): (isize, isize)) -> usize {
    let line = usize::try_from(line).unwrap_or(0).max(1);
    let column = usize::try_from(column).unwrap_or(0).max(1);
    let before: usize = source
        .split_inclusive('\n')
        .take(line - 1)
        .map(str::len)
        .sum();
    let mut offset = (before + column - 1).min(source.len());
    while !source.is_char_boundary(offset) {
        offset -= 1;
    }
    offset
}
