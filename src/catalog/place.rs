//! A place in a metadata file, so that an error can point at what was written.

use std::{collections::BTreeMap, fmt, ops::Range, sync::Arc};

use miette::NamedSource;

use super::redaction::redacted;

/// A file as errors show it: its name, and its text with secrets blanked out.
#[derive(Clone, Debug)]
pub struct SourceFile {
    source: NamedSource<Arc<String>>,
}

impl SourceFile {
    /// Takes the file's name as people know it, and its text.
    #[must_use]
    pub fn new(name: &str, text: &str) -> Self {
        Self {
            source: NamedSource::new(name, Arc::new(redacted(text))).with_language("toml"),
        }
    }

    /// The place at `span`, in bytes of the text.
    #[must_use]
    pub fn at(&self, span: Range<usize>) -> Place {
        Place {
            source: self.source.clone(),
            span,
        }
    }
}

/// A part of a file's text. Displays as `file:line:column`, both counted from 1.
#[derive(Clone, Debug)]
pub struct Place {
    pub(super) source: NamedSource<Arc<String>>,
    pub(super) span: Range<usize>,
}

impl Place {
    /// The file's name.
    #[must_use]
    pub fn file(&self) -> &str {
        self.source.name()
    }

    /// Line and column of the place's start, counted from 1; columns are characters.
    #[must_use]
    pub fn line_and_column(&self) -> (usize, usize) {
        let text = self.source.inner().as_str();
        let mut start = self.span.start.min(text.len());
        while !text.is_char_boundary(start) {
            start -= 1;
        }
        let before = &text[..start];
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        (
            before.matches('\n').count() + 1,
            before[line_start..].chars().count() + 1,
        )
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (line, column) = self.line_and_column();
        write!(f, "{}:{line}:{column}", self.file())
    }
}

/// Where the parts of one entry were written, by JSON pointer; the empty pointer is its name.
#[derive(Clone, Debug)]
pub struct Places {
    pub(super) file: SourceFile,
    pub(super) spans: BTreeMap<String, Range<usize>>,
}

impl Places {
    /// Whether `pointer` was written itself.
    #[must_use]
    pub fn is_written(&self, pointer: &str) -> bool {
        self.spans.contains_key(pointer)
    }

    /// The place of `line` and `column`, counted from 1, inside the text at `pointer`, whose value
    /// is `value`; `None`, if it was written with escapes, so that what is where can't be told.
    #[must_use]
    pub fn inside(&self, pointer: &str, value: &str, line: usize, column: usize) -> Option<Place> {
        let whole = self.at(pointer);
        let offset = offset(value, line, column)?;
        let written = whole.source.inner().get(whole.span.clone())?;
        for quote in [
            "\"\"\"\r\n",
            "'''\r\n",
            "\"\"\"\n",
            "'''\n",
            "\"\"\"",
            "'''",
            "\"",
            "'",
        ] {
            let closing = quote.trim_end();
            if written.starts_with(quote)
                && written.ends_with(closing)
                && written.len() == quote.len() + value.len() + closing.len()
            {
                let at = whole.span.start + quote.len() + offset;
                return Some(self.file.at(at..at));
            }
        }
        None
    }

    /// The place of `pointer`, or of the nearest part around it that was written.
    #[must_use]
    pub fn at(&self, pointer: &str) -> Place {
        let mut pointer = pointer;
        loop {
            if let Some(span) = self.spans.get(pointer) {
                return self.file.at(span.clone());
            }
            match pointer.rsplit_once('/') {
                Some((around, _)) => pointer = around,
                None => return self.file.at(0..0),
            }
        }
    }
}

/// Where `line` and `column` are in `text`, in bytes; columns are characters.
fn offset(text: &str, line: usize, column: usize) -> Option<usize> {
    let mut start = 0;
    for _ in 1..line {
        start += text[start..].find('\n')? + 1;
    }
    let rest = &text[start..];
    let mut ends = rest.char_indices().map(|(at, _)| at).chain([rest.len()]);
    ends.nth(column.checked_sub(1)?).map(|at| start + at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_told_by_file_line_and_column() {
        let file = SourceFile::new("a.toml", "x = 1\n\"ü\" = 2\n");
        assert_eq!(file.at(0..1).to_string(), "a.toml:1:1");
        assert_eq!(file.at(13..14).to_string(), "a.toml:2:7");
        assert_eq!(file.at(500..501).to_string(), "a.toml:3:1");
    }

    #[test]
    fn a_place_inside_a_text_is_told_unless_escapes_hide_it() {
        for (written, value, line, column, expected) in [
            ("\"ab\"", "ab", 1, 2, "a.toml:1:7"),
            ("'ab'", "ab", 1, 1, "a.toml:1:6"),
            ("'ab'", "ab", 1, 3, "a.toml:1:8"),
            ("'''\nü=\nxy'''", "ü=\nxy", 1, 2, "a.toml:2:2"),
            ("\"\"\"ü=\nxy\"\"\"", "ü=\nxy", 2, 2, "a.toml:2:2"),
            ("\"a\\tb\"", "a\tb", 1, 2, ""),
            ("'ab'", "ab", 3, 1, ""),
        ] {
            let text = format!("x = {written}\n");
            let places = Places {
                file: SourceFile::new("a.toml", &text),
                spans: BTreeMap::from([("/x".to_owned(), 4..4 + written.len())]),
            };
            let place = places.inside("/x", value, line, column);
            let place = place.map_or(String::new(), |place| place.to_string());
            assert_eq!(place, expected, "{written} {line}:{column}");
        }
    }

    #[test]
    fn a_part_that_was_not_written_is_placed_at_what_is_around_it() {
        let places = Places {
            file: SourceFile::new("a.toml", "abcdef"),
            spans: BTreeMap::from([(String::new(), 0..1), ("/sink".to_owned(), 2..3)]),
        };
        assert_eq!(places.at("/sink/url").to_string(), "a.toml:1:3");
        assert_eq!(places.at("/mode").to_string(), "a.toml:1:1");
    }
}
