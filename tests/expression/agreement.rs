//! Where the language means what CEL means, the interpreter of the `cel` crate says the same.
//!
//! Left out is what differs on purpose: null as an item or operand, integers beyond 64 bits,
//! doubles beside integers, JSON keys that are not there.

use std::collections::HashMap;

use cel::{Context, Program, Value};
use proptest::prelude::*;
use rowcall::expr::{Expression, Problem, Row, Scope, Verdict};

use crate::{
    column, facts,
    writer::{Writer, cases},
};

/// The values of a row: of some columns never null.
struct Sample {
    ints: [i64; 2],
    maybe_int: Option<i64>,
    texts: [&'static str; 2],
    maybe_text: Option<&'static str>,
    flag: bool,
    numbers: Vec<i64>,
    words: Vec<&'static str>,
}

const WORDS: [&str; 6] = ["", "a", "ab", "open", "ü", "a\"b"];

fn sample(writer: &mut Writer) -> Sample {
    let int = |writer: &mut Writer| writer.below(9) as i64 - 4;
    let word = |writer: &mut Writer| writer.pick(&WORDS);
    Sample {
        ints: [int(writer), int(writer)],
        maybe_int: (writer.below(2) == 0).then(|| int(writer)),
        texts: [word(writer), word(writer)],
        maybe_text: (writer.below(2) == 0).then(|| word(writer)),
        flag: writer.below(2) == 0,
        numbers: (0..writer.below(4)).map(|_| int(writer)).collect(),
        words: (0..writer.below(4)).map(|_| word(writer)).collect(),
    }
}

impl Sample {
    fn json(&self) -> String {
        let json = serde_json::json!({
            "a": self.ints[0], "b": self.ints[1], "n": self.maybe_int, "s": self.texts[0],
            "t": self.texts[1], "u": self.maybe_text, "f": self.flag, "l": self.numbers,
            "w": self.words,
        });
        json.to_string()
    }

    fn cel(&self) -> Value {
        let list = |values: Vec<Value>| Value::List(values.into());
        let text = |text: &str| Value::String(text.to_owned().into());
        let map: HashMap<String, Value> = [
            ("a", Value::Int(self.ints[0])),
            ("b", Value::Int(self.ints[1])),
            ("n", self.maybe_int.map_or(Value::Null, Value::Int)),
            ("s", text(self.texts[0])),
            ("t", text(self.texts[1])),
            ("u", self.maybe_text.map_or(Value::Null, text)),
            ("f", Value::Bool(self.flag)),
            (
                "l",
                list(self.numbers.iter().map(|n| Value::Int(*n)).collect()),
            ),
            ("w", list(self.words.iter().map(|w| text(w)).collect())),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into();
        map.into()
    }
}

fn scope() -> Scope {
    let columns = [
        ("a", "bigint"),
        ("b", "bigint"),
        ("n", "bigint"),
        ("s", "text"),
        ("t", "text"),
        ("u", "text"),
        ("f", "boolean"),
        ("l", "bigint[]"),
        ("w", "text[]"),
    ];
    Scope::rows(
        columns
            .map(|(name, sql_type)| column(name, sql_type, None))
            .into(),
    )
}

fn int(writer: &mut Writer) -> String {
    let operand = |writer: &mut Writer| {
        let column = writer.pick(&["row.a", "row.b", "row.n", "row.a", "row.b"]);
        match writer.below(3) {
            0 => (writer.below(9) as i64 - 4).to_string(),
            _ => column.to_owned(),
        }
    };
    let (a, b) = (operand(writer), operand(writer));
    match writer.below(8) {
        0 => format!("({a} + {b})"),
        1 => format!("({a} - {b})"),
        2 => format!("({a} * {b})"),
        3 => format!("({a} / row.b)"),
        4 => format!("({a} % row.b)"),
        5 => format!(
            "size({})",
            writer.pick(&["row.l", "row.w", "row.s", "row.t"])
        ),
        _ => a,
    }
}

fn text(writer: &mut Writer) -> String {
    match writer.below(5) {
        0 => "row.s".to_owned(),
        1 => "row.t".to_owned(),
        2 => "row.u".to_owned(),
        3 => "(row.s + row.t)".to_owned(),
        _ => format!("'{}'", writer.pick(&WORDS)),
    }
}

fn leaf(writer: &mut Writer) -> String {
    let sign = writer.pick(&["==", "!=", "<", "<=", ">", ">="]);
    let equality = writer.pick(&["==", "!="]);
    let quantifier = writer.pick(&["exists", "all"]);
    match writer.below(14) {
        0..=2 => format!("{} {sign} {}", int(writer), int(writer)),
        3 | 4 => format!("{} {sign} {}", text(writer), text(writer)),
        5 => "row.f".to_owned(),
        6 => format!(
            "{} {equality} null",
            writer.pick(&["row.n", "row.u", "row.a", "row.s"])
        ),
        7 => format!("{} in [1, -2, row.b]", writer.pick(&["row.a", "row.b"])),
        8 => format!("{} in ['a', 'ü', 'open']", writer.pick(&["row.s", "row.t"])),
        9 => "row.s in row.w || row.a in row.l".to_owned(),
        10 => {
            let function = writer.pick(&["contains", "startsWith", "endsWith"]);
            format!("{}.{function}({})", text(writer), text(writer))
        }
        11 => format!("row.l.{quantifier}(x, x {sign} {})", int(writer)),
        12 => format!(
            "row.w.{quantifier}(x, x {sign} {} || row.l.exists(y, y == size(x)))",
            text(writer)
        ),
        _ => format!("row.l {equality} [{}, {}]", int(writer), int(writer)),
    }
}

/// What the interpreter says; an error is `None`.
fn interpreted(source: &str, row: Value) -> Option<bool> {
    let program = Program::compile(source).unwrap();
    let mut context = Context::default();
    context.add_variable_from_value("row", row);
    match program.execute(&context) {
        Ok(Value::Bool(value)) => Some(value),
        _ => None,
    }
}

proptest! {
    #![proptest_config(cases(3_000))]

    #[test]
    fn the_interpreter_says_the_same(seed in any::<u64>()) {
        let mut writer = Writer(seed);
        let source = writer.condition(2, &leaf);
        let sample = sample(&mut writer);
        let compiled = Expression::compile(&source, &scope());
        let problems = compiled.as_ref().err();
        // Loops in loops beside each other may cost too much, which CEL does not mind.
        let costs = |problem: &Problem| problem.message.contains("may cost");
        prop_assume!(!problems.is_some_and(|problems| problems.iter().all(costs)));
        prop_assert!(problems.is_none(), "seed {}, `{}`: {:?}", seed, source, problems);
        let json = sample.json();
        let row = Row::parse(&json).unwrap();
        let verdict = compiled.unwrap().evaluate(&facts(None, Some(&row)));
        let said = match &verdict {
            Verdict::True => Some(true),
            Verdict::False => Some(false),
            Verdict::Failed(_) => None,
        };
        let expected = interpreted(&source, sample.cel());
        prop_assert_eq!(said, expected, "seed {}, `{}` over {}: {:?}", seed, source, json, verdict);
    }
}
