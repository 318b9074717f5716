//! The files of the repository, read.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// A text file.
pub(crate) struct File {
    /// From the repository's root, with slashes.
    pub(crate) path: String,
    pub(crate) text: String,
}

impl File {
    /// `path:line` and the line, from 1.
    pub(crate) fn lines(&self) -> impl Iterator<Item = (String, &str)> {
        self.text
            .lines()
            .zip(1..)
            .map(|(line, number)| (format!("{}:{number}", self.path), line))
    }

    pub(crate) fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap()
    }

    pub(crate) fn is_in(&self, places: &[&str]) -> bool {
        places.iter().any(|place| self.path.starts_with(place))
    }
}

pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

pub(crate) fn exists(path: &str) -> bool {
    root().join(path).exists()
}

pub(crate) fn read(path: &str) -> File {
    let text = fs::read_to_string(root().join(path)).unwrap_or_else(|error| {
        panic!("{path}: {error}");
    });
    File {
        path: path.to_owned(),
        text,
    }
}

/// The files below these folders that end in one of `ends`, in the order of their paths.
pub(crate) fn files(folders: &[&str], ends: &[&str]) -> Vec<File> {
    let mut paths = Vec::new();
    for folder in folders {
        collect(&root().join(folder), &mut paths);
    }
    let mut names: Vec<String> = paths
        .iter()
        .map(|path| {
            path.strip_prefix(root())
                .unwrap()
                .to_str()
                .unwrap()
                .to_owned()
        })
        .filter(|path| ends.iter().any(|end| path.ends_with(end)))
        .collect();
    names.sort();
    names.iter().map(|path| read(path)).collect()
}

/// Everything that is written for people.
pub(crate) fn documents() -> Vec<File> {
    let mut documents = files(&["docs"], &[".md"]);
    documents.extend(["README.md", "CONTRIBUTING.md", "CHANGELOG.md"].map(read));
    documents
}

fn collect(path: &Path, found: &mut Vec<PathBuf>) {
    if !path.is_dir() {
        if path.exists() {
            found.push(path.to_owned());
        }
        return;
    }
    for entry in fs::read_dir(path).unwrap() {
        collect(&entry.unwrap().path(), found);
    }
}
