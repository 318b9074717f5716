//! What is wrong with a metadata folder: which place, what was expected, what to do.

use std::{path::PathBuf, sync::Arc};

use miette::{Diagnostic, NamedSource, SourceSpan};

use super::place::Place;

/// Problems that one report shows at most; the first ones of a broken folder explain the others.
pub const PROBLEMS_SHOWN_MAX: usize = 100;

/// One thing that is wrong at one place. Its text never holds a secret.
#[derive(Clone, Debug, thiserror::Error, Diagnostic)]
#[error("{message}")]
pub struct Problem {
    message: String,
    #[source_code]
    text: NamedSource<Arc<String>>,
    #[label("here")]
    span: SourceSpan,
    #[help]
    help: Option<String>,
    place: Place,
}

impl Problem {
    /// A problem without advice: the message says what to do.
    #[must_use]
    pub fn new(place: Place, message: impl Into<String>) -> Self {
        Self {
            message: super::redaction::redacted(&message.into()),
            text: place.source.clone(),
            span: place.span.clone().into(),
            help: None,
            place,
        }
    }

    /// Adds what to do; an empty text adds nothing.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into()).filter(|help| !help.is_empty());
        self
    }

    /// Where it is.
    #[must_use]
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// `file:line:column: message (help)`, for logs and answers without a terminal.
    #[must_use]
    pub fn line(&self) -> String {
        match &self.help {
            Some(help) => format!("{}: {} ({help})", self.place, self.message),
            None => format!("{}: {}", self.place, self.message),
        }
    }
}

/// Something that works but will surprise.
#[derive(Clone, Debug)]
pub struct Warning {
    /// Where it comes from.
    pub place: Option<Place>,
    /// What it is, and what to do.
    pub message: String,
}

/// Why a metadata folder can't be used.
#[derive(Debug, thiserror::Error, Diagnostic)]
pub enum MetadataError {
    /// The folder, or a file in it, can't be read.
    #[error("{path} can't be read")]
    #[diagnostic(help("name a folder of .toml files that this user may read"))]
    Read {
        /// Its path.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Nothing in it: more likely the wrong folder than the wish to remove everything.
    #[error("{path} holds no .toml file")]
    #[diagnostic(help(
        "name the folder of the metadata; to remove everything on purpose, leave one empty .toml \
         file in it"
    ))]
    Empty {
        /// The folder's path.
        path: PathBuf,
    },
    /// A bound is exceeded.
    #[error("{path}: {what}")]
    #[diagnostic(help("{help}"))]
    TooLarge {
        /// What is too large.
        path: PathBuf,
        /// The bound and what was found.
        what: String,
        /// What to do.
        help: String,
    },
    /// All that is wrong in it.
    #[error("{}", summary(.problems, *.more))]
    #[diagnostic(help("nothing was changed; the running catalogue stays as it is"))]
    Invalid {
        /// In the order of files and lines, [`PROBLEMS_SHOWN_MAX`] at most.
        #[related]
        problems: Vec<Problem>,
        /// How many more there are.
        more: usize,
    },
}

impl MetadataError {
    /// The report of `problems`, sorted by place and without repetitions.
    #[must_use]
    pub fn invalid(mut problems: Vec<Problem>) -> Self {
        let order = |problem: &Problem| {
            (
                problem.place.file().to_owned(),
                problem.place.span.start,
                problem.message.clone(),
            )
        };
        problems.sort_by_cached_key(order);
        problems.dedup_by_key(|problem| order(problem));
        let more = problems.len().saturating_sub(PROBLEMS_SHOWN_MAX);
        problems.truncate(PROBLEMS_SHOWN_MAX);
        Self::Invalid { problems, more }
    }

    /// The problems, if the folder could be read.
    #[must_use]
    pub fn problems(&self) -> &[Problem] {
        match self {
            Self::Invalid { problems, .. } => problems,
            _ => &[],
        }
    }
}

fn summary(problems: &[Problem], more: usize) -> String {
    let count = problems.len() + more;
    let mut text = format!(
        "the metadata is not valid: {count} problem{}",
        if count == 1 { "" } else { "s" }
    );
    if more > 0 {
        text.push_str(&format!(", the first {} are shown", problems.len()));
    }
    text
}
