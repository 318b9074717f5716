//! Functions.

use cel::IdedExpr;
use chrono_tz::Tz;
use regex::RegexBuilder;

use super::{Checker, Typed};
use crate::{
    expr::{
        REGEX_BYTES_MAX, instant,
        kinds::{Type, Words},
        part::PARTS,
        program::{Case, Constant, Node, Part, Search},
    },
    nearest::nearest,
};

/// Every function and macro, and how it is called.
const FUNCTIONS: &[(&str, &str)] = &[
    ("contains", "text.contains('part')"),
    ("startsWith", "text.startsWith('begin')"),
    ("endsWith", "text.endsWith('end')"),
    ("matches", "text.matches('^[a-z]+$')"),
    ("size", "size(list)"),
    ("lowerAscii", "text.lowerAscii()"),
    ("upperAscii", "text.upperAscii()"),
    ("timestamp", "timestamp('2026-01-31T08:00:00Z')"),
    ("duration", "duration('1h30m')"),
    ("exists", "list.exists(item, item == 'x')"),
    ("all", "list.all(item, item == 'x')"),
    ("has", "has(row.document.key)"),
    ("getFullYear", "time.getFullYear()"),
    ("getMonth", "time.getMonth('Europe/Berlin')"),
    ("getDayOfMonth", "time.getDayOfMonth()"),
    ("getDate", "time.getDate()"),
    ("getDayOfWeek", "time.getDayOfWeek()"),
    ("getDayOfYear", "time.getDayOfYear()"),
    ("getHours", "time.getHours('Europe/Berlin')"),
    ("getMinutes", "time.getMinutes()"),
    ("getSeconds", "time.getSeconds()"),
    ("getMilliseconds", "time.getMilliseconds()"),
];

impl Checker<'_> {
    pub(super) fn function(
        &mut self,
        at: usize,
        name: &str,
        target: Option<&IdedExpr>,
        args: &[IdedExpr],
    ) -> Typed {
        // A call on a target stands at its parenthesis, any other at its name.
        let at = match target {
            Some(_) => self.places.before_parenthesis(at),
            None => at,
        };
        let Some((_, usage)) = FUNCTIONS.iter().find(|(known, _)| *known == name) else {
            let names = FUNCTIONS.iter().map(|(name, _)| *name);
            let help = match nearest(name, names.clone()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("known are {}", names.collect::<Vec<_>>().join(", ")),
            };
            return self.refuse(at, format!("no function is named `{name}`"), help);
        };
        let mut values = Vec::new();
        // The macros come here only if they were called wrongly; their variables have no types.
        if !matches!(name, "exists" | "all" | "has") {
            for arg in target.into_iter().chain(args) {
                values.push(self.value(arg, &format!("`{name}`")));
            }
        }
        let made = match (name, target.is_some(), values.as_slice()) {
            ("contains", true, [a, b]) => self.search(name, Search::Contains, a, b),
            ("startsWith", true, [a, b]) => self.search(name, Search::StartsWith, a, b),
            ("endsWith", true, [a, b]) => self.search(name, Search::EndsWith, a, b),
            ("matches", true, [a, b]) => self.matches(a, b),
            ("lowerAscii", true, [a]) => self.case(name, Case::Lower, a),
            ("upperAscii", true, [a]) => self.case(name, Case::Upper, a),
            ("size", _, [a]) => self.size(a),
            ("timestamp", false, [a]) => self.timestamp(a),
            ("duration", false, [a]) => self.duration(a),
            (_, true, [of, zone @ ..]) if zone.len() < 2 => {
                let part = PARTS.iter().find(|(known, _)| *known == name);
                part.and_then(|(_, part)| self.time_part(name, *part, of, zone.first()))
            }
            _ => None,
        };
        match made {
            Some(typed) => Typed { at, ..typed },
            None => self.refuse(
                at,
                format!("`{name}` is not called like this"),
                format!("write `{usage}`"),
            ),
        }
    }

    /// Reports a value that is no text, and says whether there was none.
    fn takes_text(&mut self, name: &str, value: &Typed) -> bool {
        let fits = matches!(value.r#type, Type::Text(_)) || value.r#type.is_open();
        if !fits {
            let message = format!("`{name}` takes text, not {}", value.r#type);
            let help = match value.r#type {
                Type::List(_) if name == "contains" => "to look for an item write `item in list`",
                _ => "",
            };
            self.report(value.at, message, help);
        }
        fits
    }

    fn search(&mut self, name: &str, search: Search, a: &Typed, b: &Typed) -> Option<Typed> {
        if !self.takes_text(name, a) | !self.takes_text(name, b) {
            return Some(Typed::unknown(a.at));
        }
        let node = Node::Search(search, Box::new([a.node.clone(), b.node.clone()]));
        Some(Typed::new(node, Type::Bool, a.at))
    }

    fn matches(&mut self, value: &Typed, pattern: &Typed) -> Option<Typed> {
        let unknown = Some(Typed::unknown(value.at));
        if !self.takes_text("matches", value) {
            return unknown;
        }
        let Node::Constant(Constant::Text(text)) = &pattern.node else {
            self.report(
                pattern.at,
                "the pattern of `matches` is a text literal, so that it is read once",
                "write it in quotes",
            );
            return unknown;
        };
        let built = RegexBuilder::new(text)
            .size_limit(REGEX_BYTES_MAX)
            .dfa_size_limit(REGEX_BYTES_MAX)
            .build();
        match built {
            Ok(regex) => {
                let node = Node::Matches(Box::new(value.node.clone()), Box::new(regex));
                Some(Typed::new(node, Type::Bool, value.at))
            }
            Err(regex::Error::CompiledTooBig(_)) => {
                let message =
                    format!("the pattern takes more than {REGEX_BYTES_MAX} bytes when compiled");
                self.report(pattern.at, message, "use smaller counts, as in `{1,20}`");
                unknown
            }
            Err(error) => {
                // The last line says what is wrong; those before draw it.
                let error = error.to_string();
                let reason = error.lines().last().unwrap_or_default();
                let reason = reason.trim_start_matches("error: ");
                self.report(
                    pattern.at,
                    format!("the pattern can't be read: {reason}"),
                    "patterns have no look-around and no back-references, and `\\` is written `\\\\` \
                     unless the literal begins with r, as in r'\\d+'",
                );
                unknown
            }
        }
    }

    fn case(&mut self, name: &str, case: Case, value: &Typed) -> Option<Typed> {
        if !self.takes_text(name, value) {
            return Some(Typed::unknown(value.at));
        }
        let node = Node::Case(case, Box::new(value.node.clone()));
        Some(Typed::new(node, Type::Text(Words::Any), value.at))
    }

    fn size(&mut self, value: &Typed) -> Option<Typed> {
        let fits = match &value.r#type {
            Type::Text(_) | Type::List(_) | Type::Labels => true,
            other => other.is_open(),
        };
        if !fits {
            let message = format!("`size` takes text, a list or JSON, not {}", value.r#type);
            self.report(value.at, message, "");
            return Some(Typed::unknown(value.at));
        }
        let node = Node::Size(Box::new(value.node.clone()));
        Some(Typed::new(node, Type::Int(None), value.at))
    }

    fn timestamp(&mut self, value: &Typed) -> Option<Typed> {
        let node = match (&value.node, &value.r#type) {
            (Node::Constant(Constant::Text(text)), _) => match instant::parse_time(text) {
                Some(time) => Node::Constant(Constant::Time(time)),
                None => {
                    self.report(
                        value.at,
                        format!("'{text}' is not a timestamp"),
                        "write one such as '2026-01-31T08:00:00Z', or a date",
                    );
                    return Some(Typed::unknown(value.at));
                }
            },
            (node, Type::Text(_) | Type::Time | Type::Json | Type::Unknown) => {
                Node::ToTime(Box::new(node.clone()))
            }
            (_, other) => {
                let message = format!("`timestamp` takes text, not {other}");
                self.report(value.at, message, "");
                return Some(Typed::unknown(value.at));
            }
        };
        Some(Typed::new(node, Type::Time, value.at))
    }

    fn duration(&mut self, value: &Typed) -> Option<Typed> {
        let node = match (&value.node, &value.r#type) {
            (Node::Constant(Constant::Text(text)), _) => match instant::parse_duration(text) {
                Some(length) => Node::Constant(Constant::Duration(length)),
                None => {
                    self.report(
                        value.at,
                        format!("'{text}' is not a duration in whole microseconds"),
                        "write one such as '1h30m'; the units are d, h, m, s, ms, us",
                    );
                    return Some(Typed::unknown(value.at));
                }
            },
            (node, Type::Text(_) | Type::Duration | Type::Json | Type::Unknown) => {
                Node::ToDuration(Box::new(node.clone()))
            }
            (_, other) => {
                let message = format!("`duration` takes text, not {other}");
                self.report(value.at, message, "");
                return Some(Typed::unknown(value.at));
            }
        };
        Some(Typed::new(node, Type::Duration, value.at))
    }

    fn time_part(
        &mut self,
        name: &str,
        part: Part,
        of: &Typed,
        zone: Option<&Typed>,
    ) -> Option<Typed> {
        let unknown = Some(Typed::unknown(of.at));
        let of_duration = matches!(
            part,
            Part::Hours | Part::Minutes | Part::Seconds | Part::Milliseconds
        );
        match of.r#type {
            Type::Time | Type::Unknown => {}
            Type::Duration if of_duration && zone.is_none() => {}
            _ => {
                let message = format!("`{name}` takes a timestamp, not {}", of.r#type);
                self.report(of.at, message, "make one of text with `timestamp(...)`");
                return unknown;
            }
        }
        let zone = match zone.map(|zone| (&zone.node, zone.at)) {
            None => Tz::UTC,
            Some((Node::Constant(Constant::Text(name)), at)) => match name.parse::<Tz>() {
                Ok(zone) => zone,
                Err(_) => {
                    let known = chrono_tz::TZ_VARIANTS.iter().map(|zone| zone.name());
                    let help = match nearest(name, known) {
                        Some(near) => format!("did you mean '{near}'?"),
                        None => "write one such as 'Europe/Berlin'".to_owned(),
                    };
                    self.report(at, format!("no time zone is named '{name}'"), help);
                    return unknown;
                }
            },
            Some((_, at)) => {
                self.report(
                    at,
                    "the time zone is a text literal",
                    "such as 'Europe/Berlin'",
                );
                return unknown;
            }
        };
        let node = Node::Part(part, Box::new(of.node.clone()), zone);
        Some(Typed::new(node, Type::Int(None), of.at))
    }
}
