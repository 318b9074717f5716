//! `&&`, `||`, `!`, `? :` and arithmetic.

use cel::IdedExpr;

use super::{Checker, Typed};
use crate::expr::{
    kinds::{Type, Words},
    program::{Constant, Node, Operation},
};

impl Checker<'_> {
    pub(super) fn junction(
        &mut self,
        at: usize,
        args: &[IdedExpr],
        sign: &str,
        of: fn(Vec<Node>) -> Node,
    ) -> Typed {
        let parts = args.iter().map(|arg| self.condition(arg, sign)).collect();
        Typed::new(of(parts), Type::Bool, at)
    }

    pub(super) fn not(&mut self, at: usize, args: &[IdedExpr]) -> Typed {
        let [arg] = args else {
            return self.refuse(at, "`!` takes one condition", "");
        };
        let node = self.condition(arg, "`!`");
        Typed::new(Node::Not(Box::new(node)), Type::Bool, at)
    }

    pub(super) fn conditional(&mut self, at: usize, args: &[IdedExpr]) -> Typed {
        let [condition, then, otherwise] = args else {
            return self.refuse(at, "`? :` takes three parts", "write `a ? b : c`");
        };
        let condition = self.condition(condition, "`?`");
        let then = self.value(then, "`?`");
        let otherwise = self.value(otherwise, "`:`");
        let (a, b) = (&then.r#type, &otherwise.r#type);
        if !a.is_comparable_with(b) {
            let message = format!("one side of `:` is {a}, the other {b}");
            return self.refuse(at, message, "give both sides one type");
        }
        let r#type = match (a, b) {
            (Type::Unknown | Type::Null, _) => b.clone(),
            (_, Type::Null) => a.clone(),
            _ if a == b => a.clone(),
            (Type::Int(_), Type::Int(_)) => Type::Int(None),
            (Type::Int(_) | Type::Decimal(_), Type::Int(_) | Type::Decimal(_)) => {
                Type::Decimal(None)
            }
            _ if a.is_number() && b.is_number() => Type::Double,
            (Type::Text(_), Type::Text(_)) => Type::Text(Words::Any),
            (Type::List(_), Type::List(_)) => a.clone(),
            _ => Type::Json,
        };
        let node = Node::Choose(Box::new([condition, then.node, otherwise.node]));
        Typed::new(node, r#type, at)
    }

    pub(super) fn negate(&mut self, at: usize, args: &[IdedExpr]) -> Typed {
        let [arg] = args else {
            return self.refuse(at, "`-` takes one number here", "");
        };
        let arg = self.value(arg, "`-`");
        let r#type = match &arg.r#type {
            Type::Int(_) => Type::Int(None),
            Type::Decimal(_) => Type::Decimal(None),
            Type::Real | Type::Double => Type::Double,
            Type::Duration | Type::Json | Type::Unknown => arg.r#type.clone(),
            other => {
                let message = format!("`-` takes a number or a duration, not {other}");
                return self.refuse(arg.at, message, "");
            }
        };
        Typed::new(Node::Negate(Box::new(arg.node)), r#type, at)
    }

    pub(super) fn arithmetic(
        &mut self,
        at: usize,
        operation: Operation,
        args: &[IdedExpr],
    ) -> Typed {
        let sign = operation.sign();
        let [a, b] = args else {
            return self.refuse(at, format!("`{sign}` takes two values"), "");
        };
        let what = format!("`{sign}`");
        let a = self.value(a, &what);
        let b = self.value(b, &what);
        let Some(r#type) = result(operation, &a.r#type, &b.r#type) else {
            let message = format!("`{sign}` does not take {} and {}", a.r#type, b.r#type);
            return self.refuse(at, message, advice(operation, &a.r#type, &b.r#type));
        };
        if let (Operation::Divide | Operation::Remainder, Node::Constant(Constant::Number(by))) =
            (operation, &b.node)
            && by.to_f64() == 0.0
        {
            return self.refuse(b.at, "division by zero", "divide by something else");
        }
        // Whole numbers are divided as Postgres and CEL do it.
        let operation = match (operation, &r#type) {
            (Operation::Divide, Type::Int(_)) => Operation::DivideWhole,
            _ => operation,
        };
        let node = Node::Arithmetic(operation, Box::new([a.node, b.node]));
        Typed::new(node, r#type, at)
    }
}

/// The type of a result; `None` if the operation does not take these.
fn result(operation: Operation, a: &Type, b: &Type) -> Option<Type> {
    use Operation::{Add, Subtract};
    Some(match (a, b) {
        (Type::Null, _) | (_, Type::Null) => return None,
        (Type::Unknown, _) | (_, Type::Unknown) => Type::Unknown,
        (Type::Int(_), Type::Int(_)) => Type::Int(None),
        (Type::Int(_) | Type::Decimal(_), Type::Int(_) | Type::Decimal(_)) => Type::Decimal(None),
        _ if a.is_number() && b.is_number() => Type::Double,
        (Type::Text(_), Type::Text(_)) if operation == Add => Type::Text(Words::Any),
        (Type::Time, Type::Duration) if matches!(operation, Add | Subtract) => Type::Time,
        (Type::Duration, Type::Time) if operation == Add => Type::Time,
        (Type::Time, Type::Time) if operation == Subtract => Type::Duration,
        (Type::Duration, Type::Duration) if matches!(operation, Add | Subtract) => Type::Duration,
        // What JSON holds is seen when a row is.
        (Type::Json, Type::Json) => Type::Json,
        (Type::Json, other) | (other, Type::Json) => match other {
            Type::Text(_) | Type::Time | Type::Duration if matches!(operation, Add | Subtract) => {
                Type::Json
            }
            _ if other.is_number() => Type::Json,
            _ => return None,
        },
        _ => return None,
    })
}

fn advice(operation: Operation, a: &Type, b: &Type) -> &'static str {
    match (a, b) {
        (Type::Time, Type::Int(_)) | (Type::Int(_), Type::Time) => {
            "add a duration, such as `duration('1h')`"
        }
        (Type::Text(_), Type::Int(_) | Type::Decimal(_)) if operation == Operation::Add => {
            "text is joined with text only"
        }
        (Type::List(_), _) | (_, Type::List(_)) => "lists can't be joined",
        _ => "",
    }
}
