//! From text to a syntax tree, by the parser of the `cel` crate, which is bounded here first: its
//! recursion is on the stack, and a stack that overflows ends the process.

use std::sync::Arc;

use cel::{
    IdedExpr,
    common::ast::SourceInfo,
    parser::pratt_parser::{Lexer, PrattParser, Token, TokenKind},
};

use super::{SOURCE_BYTES_MAX, SOURCE_DEPTH_MAX, problem::Problem};

/// What the parser reports at most before it gives up; the first problems explain the others.
const PROBLEMS_MAX: u32 = 10;
/// Nodes that macros may expand to; a text of 4 KiB has fewer.
const NODES_MAX: usize = 20_000;

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
    Ok(Parsed {
        tree,
        places: Places { source, info },
    })
}

fn parser() -> PrattParser {
    PrattParser::new()
        .max_recursion_depth(SOURCE_DEPTH_MAX as u16 * 2)
        .error_recovery_limit(PROBLEMS_MAX)
        .error_reporting_limit(PROBLEMS_MAX)
        .max_expression_node_count(NODES_MAX)
        .enable_variadic_operator_asts(true)
}

/// How deep the tree is inside one pair of brackets, so far.
#[derive(Default)]
struct Group {
    /// Operators, selections and calls in a row: each is a level of the tree.
    chain: usize,
    /// Each `?` nests what follows it.
    conditionals: usize,
}

/// Refuses what is too long, or would be too deep a tree, by the parser's own tokens.
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
    let mut depth = 0;
    let mut lexer = Lexer::new(source);
    // Every token but the last has a byte at least.
    for _ in 0..=source.len() {
        let token = lexer.lex();
        if token.kind == TokenKind::TokEnd {
            break;
        }
        measure(&token, &mut groups, &mut depth);
        if depth > SOURCE_DEPTH_MAX {
            return Err(Problem::at(
                source,
                token.start,
                format!(
                    "the expression is nested deeper than {SOURCE_DEPTH_MAX}: brackets, and \
                     operators in a row that are not `&&` or `||`, count"
                ),
                "use fewer brackets, or `in [...]` instead of many conditions",
            ));
        }
    }
    Ok(())
}

fn measure(token: &Token, groups: &mut Vec<Group>, depth: &mut usize) {
    use TokenKind::{
        TokColon, TokComma, TokComment, TokEnd, TokError, TokFalse, TokFloat, TokIdent, TokInt,
        TokLeftBrace, TokLeftBracket, TokLeftParen, TokLogicalAnd, TokLogicalOr, TokNull,
        TokQuestion, TokReservedWord, TokRightBrace, TokRightBracket, TokRightParen, TokString,
        TokTrue, TokUint, TokWhitespace,
    };
    let Some(group) = groups.last_mut() else {
        return;
    };
    match token.kind {
        TokLeftParen | TokLeftBracket | TokLeftBrace => {
            group.chain += 1;
            *depth += 1;
            groups.push(Group::default());
        }
        TokRightParen | TokRightBracket | TokRightBrace => {
            if groups.len() > 1
                && let Some(closed) = groups.pop()
            {
                *depth -= closed.chain + closed.conditionals;
            }
        }
        // What stands beside each other is one level.
        TokLogicalAnd | TokLogicalOr => *depth -= std::mem::take(&mut group.chain),
        TokComma => {
            *depth -= group.chain + group.conditionals;
            *group = Group::default();
        }
        TokQuestion => {
            group.conditionals += 1;
            *depth += 1;
        }
        TokColon
        | TokWhitespace
        | TokComment
        | TokError
        | TokEnd
        | TokNull
        | TokFalse
        | TokTrue
        | TokInt
        | TokUint
        | TokFloat
        | TokString
        | TokIdent
        | TokReservedWord
        | TokenKind::TokBytes => {}
        _ => {
            group.chain += 1;
            *depth += 1;
        }
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
