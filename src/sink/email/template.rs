//! Templates, rendered within limits.
//!
//! Guaranteed: a rendering takes at most [`FUEL`] steps and says at most [`TEXT_BYTES_MAX`]; values
//! are escaped in HTML, and have no control characters but line breaks and tabs; a subject is one
//! short line, whatever its values are. A template sees its message and nothing else: no file, no
//! variable of the environment, no other template.

use std::{
    io,
    sync::{Arc, LazyLock},
};

use css_inline::{CSSInliner, InlineOptions};
use minijinja::{
    AutoEscape, Environment, Error, ErrorKind, HtmlEscape, Output, State, UndefinedBehavior, Value,
    value::ValueKind,
};

use super::{
    address::is_line_separator,
    content::{Content, Kind},
    data::cut,
    filters,
    language::{Fault, check, syntax},
};

/// The steps that one rendering may take, in instructions of the template engine.
pub const FUEL: u64 = 250_000;
/// How deep statements may nest while a template is rendered.
const RECURSION_MAX: usize = 64;
/// The longest text or HTML of a mail, in bytes, before its styles are moved into its elements.
pub const TEXT_BYTES_MAX: usize = 1024 * 1024;
/// The longest HTML of a mail, in bytes, styles included.
pub const HTML_BYTES_MAX: usize = 3 * 1024 * 1024;
/// The longest subject, in characters, without the number of the part.
pub const SUBJECT_CHARS_MAX: usize = 150;

/// What of a mail a template makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    Subject,
    Text,
    Html,
}

impl Piece {
    pub(super) const ALL: [Self; 3] = [Self::Subject, Self::Text, Self::Html];

    /// The setting that holds the template.
    pub(super) fn setting(self) -> &'static str {
        match self {
            Self::Subject => "subject",
            Self::Text => "text",
            Self::Html => "html",
        }
    }
}

/// A mail's text as it was rendered.
#[derive(Debug)]
pub(super) struct Rendered {
    pub(super) subject: String,
    pub(super) text: String,
    pub(super) html: Option<String>,
}

/// Why a template could not be rendered, in Rowcall's words: nothing of the message is in it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct RenderFault {
    pub(super) piece: Piece,
    pub(super) is_built_in: bool,
    pub(super) line: Option<usize>,
    pub(super) reason: String,
}

/// The templates of one subscription; what it does not bring is built in.
#[derive(Clone, Debug, Default)]
pub(super) struct Templates {
    own: Option<Arc<Environment<'static>>>,
    /// A mail with a text of its own and no HTML of its own is plain text.
    is_plain: bool,
}

impl Templates {
    /// Reads the templates that a subscription brings.
    pub(super) fn compile(
        subject: Option<&str>,
        text: Option<&str>,
        html: Option<&str>,
    ) -> Result<Self, Vec<(Piece, Fault)>> {
        let mut own = environment();
        let mut faults = Vec::new();
        for (piece, source) in Piece::ALL.into_iter().zip([subject, text, html]) {
            let Some(source) = source else { continue };
            let added = check(source).and_then(|()| {
                own.add_template_owned(name(piece), source.to_owned())
                    .map_err(|error| Fault {
                        line: error.line().unwrap_or(1),
                        message: error.kind().to_string(),
                    })
            });
            faults.extend(added.err().map(|fault| (piece, fault)));
        }
        if !faults.is_empty() {
            return Err(faults);
        }
        let is_own = subject.is_some() || text.is_some() || html.is_some();
        Ok(Self {
            own: is_own.then(|| Arc::new(own)),
            is_plain: text.is_some() && html.is_none(),
        })
    }

    /// Makes a mail's subject, text and HTML. Takes some milliseconds of a processor.
    pub(super) fn render(&self, content: &Content) -> Result<Rendered, RenderFault> {
        let subject = self.piece(Piece::Subject, content)?;
        let mut subject = one_line(&subject);
        if let Some((part, parts)) = content.part {
            subject.push_str(&format!(" (part {part} of {parts})"));
        }
        let text = self.piece(Piece::Text, content)?;
        let html = if self.is_plain {
            None
        } else {
            Some(self.piece(Piece::Html, content)?)
        };
        Ok(Rendered {
            subject,
            text,
            html,
        })
    }

    fn piece(&self, piece: Piece, content: &Content) -> Result<String, RenderFault> {
        let own = self.own.as_deref();
        if let Some(own) = own.filter(|own| own.get_template(name(piece)).is_ok()) {
            return rendered(own, name(piece), content)
                .map_err(|error| RenderFault::of(piece, false, &error));
        }
        let fault = |error: Error| RenderFault::of(piece, true, &error);
        let made = rendered(&BUILT_IN, built_in(content.kind, piece), content).map_err(fault)?;
        if piece != Piece::Html {
            return Ok(made);
        }
        styled(&made).ok_or_else(|| RenderFault {
            piece,
            is_built_in: true,
            line: None,
            reason: format!("its HTML has more than {HTML_BYTES_MAX} bytes"),
        })
    }
}

impl RenderFault {
    fn of(piece: Piece, is_built_in: bool, error: &Error) -> Self {
        let reason = match error.kind() {
            ErrorKind::OutOfFuel => format!("it takes more than {FUEL} steps; list less"),
            ErrorKind::WriteFailure => {
                format!("it makes more than {TEXT_BYTES_MAX} bytes; show less")
            }
            // Not the detail, which may quote a value.
            kind => kind.to_string(),
        };
        Self {
            piece,
            is_built_in,
            line: error.line(),
            reason,
        }
    }
}

const EVENT_SUBJECT: &str = "{{ event.type }}{% if event.subject %} {{ event.subject }}{% endif %}";
const DIGEST_SUBJECT: &str = "{{ subscription.name }}\
     {% if digest.group %}, {{ digest.group }}{% elif digest.rest %}, other groups{% endif %}: \
     {{ digest.count }} \
     {{ 'event' if digest.count == 1 else 'events' }}\
     {% if digest.window.to %} until {{ digest.window.to|time }}{% endif %}";

static BUILT_IN: LazyLock<Environment<'static>> = LazyLock::new(|| {
    let mut environment = environment();
    for (name, source) in SOURCES {
        if let Err(error) = environment.add_template(name, source) {
            // A test renders all of them.
            tracing::error!(name, %error, "a built-in template can't be read");
        }
    }
    environment
});

/// Name and source of each built-in template.
const SOURCES: [(&str, &str); 6] = [
    ("event.subject", EVENT_SUBJECT),
    ("event.txt", include_str!("templates/event.txt")),
    ("event.html", include_str!("templates/event.html")),
    ("digest.subject", DIGEST_SUBJECT),
    ("digest.txt", include_str!("templates/digest.txt")),
    ("digest.html", include_str!("templates/digest.html")),
];

fn built_in(kind: Kind, piece: Piece) -> &'static str {
    match (kind, piece) {
        (Kind::Event, Piece::Subject) => "event.subject",
        (Kind::Event, Piece::Text) => "event.txt",
        (Kind::Event, Piece::Html) => "event.html",
        (Kind::Digest, Piece::Subject) => "digest.subject",
        (Kind::Digest, Piece::Text) => "digest.txt",
        (Kind::Digest, Piece::Html) => "digest.html",
    }
}

fn name(piece: Piece) -> &'static str {
    match piece {
        Piece::Subject => "own.subject",
        Piece::Text => "own.txt",
        Piece::Html => "own.html",
    }
}

fn environment() -> Environment<'static> {
    let mut environment = Environment::empty();
    environment.set_fuel(Some(FUEL));
    environment.set_recursion_limit(RECURSION_MAX);
    // A column that is missing shows as nothing: rows change, and a mail without it is better than
    // none.
    environment.set_undefined_behavior(UndefinedBehavior::Chainable);
    environment.set_syntax(syntax());
    environment.set_auto_escape_callback(|name| {
        if name.ends_with(".html") {
            AutoEscape::Html
        } else {
            AutoEscape::None
        }
    });
    environment.set_formatter(show);
    filters::add(&mut environment);
    environment
}

/// Writes a value: nothing for what is missing, without control characters, escaped in HTML.
fn show(out: &mut Output<'_>, state: &mut State<'_, '_>, value: &Value) -> Result<(), Error> {
    let text = match value.kind() {
        ValueKind::Undefined | ValueKind::None => return Ok(()),
        ValueKind::Bool => value.is_true().to_string(),
        _ => value.to_string(),
    };
    let clean = clean(&text);
    if matches!(state.auto_escape(), AutoEscape::Html) {
        write!(out, "{}", HtmlEscape(&clean))?;
    } else {
        out.write_str(&clean)?;
    }
    Ok(())
}

/// Line breaks become `\n`; other control characters, which a terminal may obey, become `�`.
fn clean(text: &str) -> String {
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    text.chars()
        .map(|c| match c {
            '\n' | '\t' => c,
            c if c.is_control() || turns_text(c) => '\u{FFFD}',
            c if is_line_separator(c) => '\n',
            c => c,
        })
        .collect()
}

/// The characters that make text run the other way, and so can make it read as another.
fn turns_text(c: char) -> bool {
    matches!(c, '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
}

/// A subject: one line, cut, each run of spaces and line breaks one space. `=?`, with which an
/// encoded word begins, is taken apart, for a mail reader would decode what a value spells there.
fn one_line(text: &str) -> String {
    let words: Vec<&str> = text
        .split(|c: char| c.is_whitespace() || c.is_control() || is_line_separator(c))
        .filter(|word| !word.is_empty())
        .collect();
    let line = words.join(" ").replace("=?", "= ?");
    cut(&line, SUBJECT_CHARS_MAX).into_owned()
}

fn rendered(
    environment: &Environment<'static>,
    name: &str,
    content: &Content,
) -> Result<String, Error> {
    let mut out = Bounded(Vec::new());
    environment
        .get_template(name)?
        .render_captured_to(content.variables.clone(), &mut out)?;
    // Templates and values are UTF-8, and are written whole.
    Ok(String::from_utf8_lossy(&out.0).into_owned())
}

/// Takes up to [`TEXT_BYTES_MAX`].
struct Bounded(Vec<u8>);

impl io::Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len() + bytes.len() > TEXT_BYTES_MAX {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Moves the styles of a built-in template into its elements, where every mail reader sees them.
///
/// Only for those: how deep their elements nest is known, and the inliner recurses. HTML of a
/// subscriber's own could nest without end, or make a reader of HTML build far more than it says.
fn styled(html: &str) -> Option<String> {
    let inliner = CSSInliner::new(InlineOptions {
        load_remote_stylesheets: false,
        // What stands in a media query can't move.
        keep_at_rules: true,
        resolve_css_variables: false,
        ..InlineOptions::default()
    });
    let styled = inliner.inline(html).ok()?;
    (styled.len() <= HTML_BYTES_MAX).then_some(styled)
}

#[cfg(test)]
mod tests;
