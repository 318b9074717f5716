//! The directory that the demo's mails are written to. It stays when the demo ends.
//!
//! Each mail is a file that mail programs open; beside it the demo puts what a browser shows. Only
//! files of this demo are read, and only those are removed again, the oldest first, when there are
//! too many.

use std::{
    collections::{HashSet, VecDeque},
    fs, io,
    path::{Path, PathBuf},
};

use miette::{Context as _, IntoDiagnostic as _, miette};
use secrecy::SecretString;
use url::Url;

use super::{
    digest::{DigestPart, read_id},
    receipt::Print,
    subscribers::MAIL_SUBSCRIPTION,
};
use crate::sink::MailSettings;

/// Mails of one demo that are kept.
const MAILS_KEPT_MAX: usize = 200;

/// The mails of a demo.
pub(super) struct Mails {
    directory: PathBuf,
    /// Files that were there before, and those that were read.
    known: HashSet<PathBuf>,
    /// Mails of this demo, the oldest first.
    own: VecDeque<PathBuf>,
}

/// A mail that was found.
#[derive(Debug)]
pub(super) struct Mail {
    pub(super) subject: String,
    /// What a browser shows.
    pub(super) page: PathBuf,
    pub(super) part: DigestPart,
}

impl Mails {
    /// Makes the directory, if it is not there.
    ///
    /// # Errors
    ///
    /// If it can't be made or read.
    pub(super) fn open(directory: &Path) -> miette::Result<Self> {
        let problem = || {
            format!(
                "mails can't be written to {}; name another directory with --mail-dir",
                directory.display()
            )
        };
        fs::create_dir_all(directory)
            .and_then(|()| fs::canonicalize(directory))
            .and_then(|directory| {
                Ok(Self {
                    known: found(&directory)?.into_iter().collect(),
                    own: VecDeque::new(),
                    directory,
                })
            })
            .into_diagnostic()
            .wrap_err_with(problem)
    }

    /// Where they are.
    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    /// How Rowcall is told to write them there.
    pub(super) fn settings(&self) -> miette::Result<MailSettings> {
        let url = Url::from_directory_path(&self.directory)
            .map_err(|()| miette!("{} is no whole path", self.directory.display()))?;
        MailSettings::parse(&SecretString::from(String::from(url)), None).into_diagnostic()
    }

    /// Reads the mails that came since the last look, and puts a page for the browser beside each.
    pub(super) fn look(&mut self) -> io::Result<Vec<Mail>> {
        let mut new: Vec<PathBuf> = found(&self.directory)?;
        new.retain(|path| !self.known.contains(path));
        // Their names begin with their times.
        new.sort_unstable();
        let mut mails = Vec::with_capacity(new.len());
        for path in new {
            let text = fs::read_to_string(&path)?;
            let page = path.with_extension("html");
            let Some((subject, part, html)) = read(&text) else {
                let problem = format!("{} is no mail of a digest", path.display());
                return Err(io::Error::other(problem));
            };
            fs::write(&page, html)?;
            self.known.insert(path.clone());
            self.own.push_back(path);
            mails.push(Mail {
                subject,
                page,
                part,
            });
        }
        while self.own.len() > MAILS_KEPT_MAX {
            if let Some(oldest) = self.own.pop_front() {
                fs::remove_file(oldest.with_extension("html"))?;
                fs::remove_file(&oldest)?;
                self.known.remove(&oldest);
            }
        }
        Ok(mails)
    }
}

/// The mails in the directory.
fn found(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mark = format!("-{MAIL_SUBSCRIPTION}-");
    let mut paths = Vec::new();
    for entry in fs::read_dir(directory)? {
        let name = entry?.file_name();
        // A mail that is being written has a name that begins with a dot.
        let is_mail = name.to_str().is_some_and(|name| {
            !name.starts_with('.') && name.contains(&mark) && name.ends_with(".eml")
        });
        if is_mail {
            paths.push(directory.join(name));
        }
    }
    Ok(paths)
}

/// A mail's subject, what its digest counts, and its page of HTML.
fn read(mail: &str) -> Option<(String, DigestPart, Vec<u8>)> {
    let (head, body) = mail.split_once("\r\n\r\n")?;
    // A long header goes on in lines that begin with a space.
    let head = head.replace("\r\n ", " ").replace("\r\n\t", " ");
    let header = |name: &str| {
        let mut lines = head.lines().filter_map(|line| line.split_once(": "));
        let (_, value) = lines.find(|(given, _)| given.eq_ignore_ascii_case(name))?;
        Some(value.trim())
    };
    let subject = header("Subject")?;
    let count = subject.split(' ').next()?.parse().ok()?;
    let (digest, part) = read_id(header("Rowcall-Event-Id")?)?;
    let (_, boundary) = header("Content-Type")?.split_once("boundary=\"")?;
    let boundary = format!("--{}", boundary.split('"').next()?);
    let html = body.split(&boundary).find_map(|section| {
        let (head, text) = section.split_once("\r\n\r\n")?;
        head.contains("text/html").then_some(text)
    })?;
    let part = DigestPart {
        digest,
        part,
        parts: parts(subject),
        count,
        window: None,
        entries: Vec::new(),
        body: Print::of(mail.as_bytes()),
    };
    Some((subject.to_owned(), part, unquoted(html)))
}

/// How many parts the digest has: a subject ends with `(part 1 of 2)`, if there are several.
fn parts(subject: &str) -> u32 {
    let last = subject.strip_suffix(')').and_then(|text| {
        let (_, part) = text.rsplit_once("(part ")?;
        part.split_once(" of ")?.1.parse().ok()
    });
    last.unwrap_or(1)
}

/// What a quoted-printable text says (RFC 2045, section 6.7).
fn unquoted(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte != b'=' {
            bytes.push(byte);
            continue;
        }
        let Some((code, behind)) = rest.split_at_checked(2) else {
            break;
        };
        rest = behind;
        let code = std::str::from_utf8(code).unwrap_or_default();
        // Anything else is a line that goes on in the next.
        if let Ok(byte) = u8::from_str_radix(code, 16) {
            bytes.push(byte);
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "01a1ff9d-ecdb-7579-a718-646930f087ee";

    fn mail(subject: &str) -> String {
        format!(
            "From: rowcall@localhost\r\nSubject: {subject}\r\nRowcall-Event-Id: {ID}.2\r\n\
             Content-Type: multipart/alternative;\r\n boundary=\"b1\"\r\n\r\n\
             --b1\r\nContent-Type: text/plain\r\n\r\nplain\r\n\
             --b1\r\nContent-Type: text/html; charset=utf-8\r\n\r\n<p>=C3=A4 =3D so=\r\nft</p>\r\n--b1--\r\n"
        )
    }

    #[test]
    fn a_mail_is_read_and_its_page_decoded() {
        let (subject, part, html) = read(&mail("57 orders\r\n released (part 2 of 3)")).unwrap();
        assert_eq!(subject, "57 orders released (part 2 of 3)");
        assert_eq!((part.part, part.parts, part.count), (2, 3, 57));
        assert_eq!(part.digest.to_string(), ID);
        assert_eq!(String::from_utf8(html).unwrap(), "<p>ä = soft</p>\r\n");
        assert!(read(&mail("no number")).is_none());
    }

    #[test]
    fn mails_of_another_demo_are_left_alone() {
        // GIVEN a directory with an older mail
        let directory = tempfile::tempdir().unwrap();
        let file = |name: &str| {
            directory
                .path()
                .join(format!("{name}-{MAIL_SUBSCRIPTION}-x.eml"))
        };
        fs::write(file("1"), mail("1 order")).unwrap();
        let mut mails = Mails::open(directory.path()).unwrap();

        // WHEN more come than are kept
        for number in 1_000..=1_000 + MAILS_KEPT_MAX {
            fs::write(file(&number.to_string()), mail("2 orders")).unwrap();
        }
        let found = mails.look().unwrap();

        // THEN the oldest of this demo is gone, and the older one is not
        assert_eq!(found.len(), MAILS_KEPT_MAX + 1);
        assert!(found[1].page.exists());
        assert!(!file("1000").exists() && file("1001").exists() && file("1").exists());
        assert!(mails.look().unwrap().is_empty());
    }
}
