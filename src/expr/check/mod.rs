//! From the syntax tree to the compiled form: every name is looked up, every type compared, every
//! literal brought into the type of what it meets. Problems are collected, and a part that has one
//! fits everywhere, so that one slip is reported once.

mod call;
mod compare;
mod literal;
mod name;
mod operator;

use cel::{
    IdedExpr,
    common::ast::{CallExpr, ComprehensionExpr, Expr, LiteralValue, operators},
};

use super::{
    Scope,
    kinds::Type,
    number::Number,
    parse::Places,
    problem::Problem,
    program::{Comparison, Constant, Loop, Node, Operation},
};

/// The variable into which the parser's macros collect.
const RESULT: &str = "@result";

/// A checked part.
#[derive(Clone, Debug)]
struct Typed {
    node: Node,
    r#type: Type,
    /// Where it is, in bytes of the source.
    at: usize,
}

impl Typed {
    fn new(node: Node, r#type: Type, at: usize) -> Self {
        Self { node, r#type, at }
    }

    /// What stands for a part that has a problem.
    fn unknown(at: usize) -> Self {
        Self::new(Node::Constant(Constant::Null), Type::Unknown, at)
    }

    fn is_literal(&self) -> bool {
        matches!(self.node, Node::Constant(_))
    }
}

/// The compiled form of the condition `tree`, or all that is wrong with it.
pub(super) fn check(
    tree: &IdedExpr,
    places: &Places<'_>,
    scope: &Scope,
) -> Result<Node, Vec<Problem>> {
    let mut checker = Checker::new(places, scope);
    let checked = checker.part(tree);
    if !matches!(checked.r#type, Type::Bool | Type::Json | Type::Unknown) {
        let help = match checked.r#type {
            Type::Text(_) | Type::Int(_) | Type::Decimal(_) | Type::Time => {
                "compare it with something, as in `... == ...`"
            }
            Type::Row => "compare it with null: `old == null` holds for creates",
            _ => "an expression is a condition, such as `row.status == 'open'`",
        };
        let message = format!("the expression is {}, not true or false", checked.r#type);
        checker.report(checked.at, message, help);
    }
    checker.finish(checked)
}

/// The compiled form of `tree`, whose value has a text, or all that is wrong with it.
pub(super) fn check_value(
    tree: &IdedExpr,
    places: &Places<'_>,
    scope: &Scope,
) -> Result<Node, Vec<Problem>> {
    let mut checker = Checker::new(places, scope);
    let checked = checker.part(tree);
    if matches!(
        checked.r#type,
        Type::Null | Type::List(_) | Type::Row | Type::Labels | Type::Namespace(_)
    ) {
        let message = format!(
            "the expression is {}, which is no one value",
            checked.r#type
        );
        let help = "name a column or a field, such as `row.region`";
        checker.report(checked.at, message, help);
    }
    checker.finish(checked)
}

struct Checker<'s> {
    scope: &'s Scope,
    places: &'s Places<'s>,
    /// The variables of the loops around, the outermost first.
    variables: Vec<(String, Type)>,
    problems: Vec<Problem>,
}

impl<'s> Checker<'s> {
    fn new(places: &'s Places<'s>, scope: &'s Scope) -> Self {
        Self {
            scope,
            places,
            variables: Vec::new(),
            problems: Vec::new(),
        }
    }

    fn finish(mut self, checked: Typed) -> Result<Node, Vec<Problem>> {
        if self.problems.is_empty() {
            return Ok(checked.node);
        }
        self.problems
            .sort_by_key(|problem| (problem.line, problem.column));
        self.problems.dedup();
        Err(self.problems)
    }
}

impl Checker<'_> {
    fn report(&mut self, at: usize, message: impl Into<String>, help: impl Into<String>) {
        let problem = self.places.problem(at, message.into(), help.into());
        self.problems.push(problem);
    }

    /// Reports, and gives what stands for the part.
    fn refuse(&mut self, at: usize, message: impl Into<String>, help: impl Into<String>) -> Typed {
        self.report(at, message, help);
        Typed::unknown(at)
    }

    fn part(&mut self, part: &IdedExpr) -> Typed {
        let at = self.places.offset(part.id);
        match &part.expr {
            Expr::Literal(literal) => self.literal(part.id, literal),
            Expr::Ident(name) => self.ident(at, name),
            Expr::Select(select) => self.select(at, select),
            Expr::Call(call) => self.call(at, call),
            Expr::List(list) => self.list(at, &list.elements),
            Expr::Comprehension(comprehension) => self.comprehension(at, comprehension),
            Expr::Map(_) => self.refuse(
                at,
                "maps can't be written in expressions",
                "compare the fields one by one",
            ),
            Expr::Struct(_) => self.refuse(
                at,
                "messages can't be written in expressions",
                "compare the fields one by one",
            ),
            Expr::Unspecified => self.refuse(at, "a part of the expression is missing", ""),
        }
    }

    /// A value: rows, labels and `event` are none.
    fn value(&mut self, part: &IdedExpr, what: &str) -> Typed {
        let typed = self.part(part);
        match typed.r#type {
            Type::Row | Type::Namespace(_) => {
                let message = format!("{what} does not take {}", typed.r#type);
                self.refuse(typed.at, message, "name one of its fields")
            }
            _ => typed,
        }
    }

    /// A condition.
    fn condition(&mut self, part: &IdedExpr, what: &str) -> Node {
        let typed = self.value(part, what);
        if typed.r#type != Type::Bool && !typed.r#type.is_open() {
            let message = format!("{what} takes true or false, not {}", typed.r#type);
            self.report(typed.at, message, "compare it with something");
        }
        typed.node
    }

    fn literal(&mut self, id: u64, literal: &LiteralValue) -> Typed {
        let at = self.places.offset(id);
        let (constant, r#type) = match literal {
            LiteralValue::Null => (Constant::Null, Type::Null),
            LiteralValue::Boolean(value) => (Constant::Bool(*value.inner()), Type::Bool),
            LiteralValue::String(text) => (
                Constant::Text(text.inner().into()),
                Type::Text(super::kinds::Words::Any),
            ),
            LiteralValue::Int(value) => (
                Constant::Number(Number::int(*value.inner())),
                Type::Int(None),
            ),
            LiteralValue::UInt(value) => match Number::parse(&value.inner().to_string()) {
                Some(number) => (Constant::Number(number), Type::Int(None)),
                None => return Typed::unknown(at),
            },
            LiteralValue::Double(_) => {
                // The tree holds a rounded number; what was written is exact.
                match self.places.number(id).as_deref().and_then(Number::parse) {
                    Some(number) => (Constant::Number(number), Type::Decimal(None)),
                    None => {
                        let message = format!(
                            "the number has more than {} digits",
                            super::NUMBER_DIGITS_MAX
                        );
                        return self.refuse(at, message, "write a smaller one");
                    }
                }
            }
            LiteralValue::Bytes(_) => {
                return self.refuse(
                    at,
                    "bytes can't be written in expressions",
                    "a bytea column is text such as `'\\\\x00ff'`",
                );
            }
        };
        Typed::new(Node::Constant(constant), r#type, at)
    }

    fn list(&mut self, at: usize, elements: &[IdedExpr]) -> Typed {
        let items: Vec<Typed> = elements
            .iter()
            .map(|element| self.value(element, "a list"))
            .collect();
        let mut r#type = Type::Unknown;
        for item in &items {
            if matches!(item.r#type, Type::Null) {
                self.report(
                    item.at,
                    "null in a list is never found",
                    "write `... == null || ... in [...]`",
                );
            } else if r#type == Type::Unknown {
                r#type = item.r#type.clone();
            } else if !r#type.is_comparable_with(&item.r#type) {
                let message = format!("a list of {type} does not take {}", item.r#type);
                self.report(item.at, message, "write items of one type");
            } else if matches!((&r#type, &item.r#type), (Type::Int(_), Type::Decimal(_))) {
                r#type = item.r#type.clone();
            }
        }
        let nodes = items.into_iter().map(|item| item.node).collect();
        Typed::new(Node::List(nodes), Type::List(Box::new(r#type)), at)
    }

    fn call(&mut self, at: usize, call: &CallExpr) -> Typed {
        let args = call.args.as_slice();
        let compare = |how| (how, args);
        let (how, args) = match call.func_name.as_str() {
            operators::LOGICAL_AND => return self.junction(at, args, "`&&`", Node::And),
            operators::LOGICAL_OR => return self.junction(at, args, "`||`", Node::Or),
            operators::LOGICAL_NOT => return self.not(at, args),
            operators::CONDITIONAL => return self.conditional(at, args),
            operators::IN => return self.member(at, args),
            operators::INDEX => return self.index(at, args),
            operators::NEGATE => return self.negate(at, args),
            operators::ADD => return self.arithmetic(at, Operation::Add, args),
            operators::SUBSTRACT => return self.arithmetic(at, Operation::Subtract, args),
            operators::MULTIPLY => return self.arithmetic(at, Operation::Multiply, args),
            operators::DIVIDE => return self.arithmetic(at, Operation::Divide, args),
            operators::MODULO => return self.arithmetic(at, Operation::Remainder, args),
            operators::EQUALS => compare(Comparison::Equal),
            operators::NOT_EQUALS => compare(Comparison::NotEqual),
            operators::LESS => compare(Comparison::Less),
            operators::LESS_EQUALS => compare(Comparison::LessOrEqual),
            operators::GREATER => compare(Comparison::Greater),
            operators::GREATER_EQUALS => compare(Comparison::GreaterOrEqual),
            name => return self.function(at, name, call.target.as_deref(), args),
        };
        self.comparison(at, how, args)
    }

    /// `exists` and `all`: the parser has made loops of them, by macros.
    fn comprehension(&mut self, at: usize, made: &ComprehensionExpr) -> Typed {
        let at = self.places.before_parenthesis(at);
        let every = match &made.accu_init.expr {
            Expr::Literal(LiteralValue::Boolean(start)) => *start.inner(),
            _ => {
                return self.refuse(
                    at,
                    "of the macros only `exists`, `all` and `has` are part of this language",
                    "say with `exists` or `all` what must hold for the items",
                );
            }
        };
        let body = match &made.loop_step.expr {
            Expr::Call(step) => match step.args.as_slice() {
                [result, body] if result.expr == Expr::Ident(RESULT.to_owned()) => body,
                _ => return self.refuse(at, "this loop is not known", ""),
            },
            _ => return self.refuse(at, "this loop is not known", ""),
        };
        let what = if every { "`all`" } else { "`exists`" };
        let list = self.value(&made.iter_range, what);
        let item = match &list.r#type {
            Type::List(item) => item.as_ref().clone(),
            Type::Json | Type::Unknown => list.r#type.clone(),
            Type::Labels => Type::Text(super::kinds::Words::Any),
            other => {
                let message = format!("{what} takes a list, not {other}");
                self.refuse(list.at, message, "").r#type
            }
        };
        if name::ROOTS.contains(&made.iter_var.as_str())
            || self
                .variables
                .iter()
                .any(|(name, _)| *name == made.iter_var)
        {
            let message = format!("the variable `{}` has a name that is taken", made.iter_var);
            self.report(at, message, "give it another name");
        }
        self.variables.push((made.iter_var.clone(), item));
        let body = self.condition(body, what);
        self.variables.pop();
        let node = Node::Loop(Box::new(Loop {
            every,
            list: list.node,
            body,
        }));
        Typed::new(node, Type::Bool, at)
    }
}
