//! A folder of metadata files, read.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use sha2::{Digest, Sha256};

use super::{
    document,
    entry::Entry,
    model::{EventType, Namespace, ObjectType},
    place::{Place, Places},
    problem::{MetadataError, Problem},
};
use crate::{constraint::model::ConstraintSpec, subscription::model::SubscriptionSpec};

/// Files of one folder, at most.
pub const FILES_MAX: usize = 1_000;
/// The largest file, in bytes.
pub const FILE_BYTES_MAX: u64 = 1024 * 1024;
/// All files together, in bytes.
pub const FOLDER_BYTES_MAX: u64 = 32 * 1024 * 1024;
/// How deep folders may lie in the folder.
pub const FOLDER_DEPTH_MAX: usize = 8;

/// What the files of a folder say. Its problems are kept beside what could be read, so that the
/// comparison with the tables can add its own and all are reported together.
#[derive(Clone, Debug, Default)]
pub struct Folder {
    /// In the order of files.
    pub namespaces: Vec<Item<Namespace>>,
    /// In the order of files.
    pub object_types: Vec<Item<ObjectType>>,
    /// In the order of files.
    pub event_types: Vec<Item<EventType>>,
    /// In the order of files.
    pub constraints: Vec<Item<ConstraintSpec>>,
    /// In the order of files.
    pub subscriptions: Vec<Item<SubscriptionSpec>>,
    /// What is wrong in the files by themselves.
    pub problems: Vec<Problem>,
    /// SHA-256 of the files' names and contents.
    pub digest: [u8; 32],
    /// Object types and event types that could not be read and are missing above. What names them
    /// is not to blame.
    pub(super) unread_types: usize,
    /// The beginning of the first file: where to point for what no file says any more.
    pub(super) start: Option<Place>,
    /// Where each kind and name was first written.
    pub(super) seen: BTreeMap<String, Place>,
}

/// One entry of a folder.
#[derive(Clone, Debug)]
pub struct Item<T> {
    /// Its full name.
    pub name: String,
    /// What it says.
    pub spec: T,
    /// Where it says so.
    pub places: Places,
}

impl<T> Item<T> {
    pub(super) fn of(entry: Entry<'_>, spec: T) -> Self {
        Self {
            name: entry.name,
            spec,
            places: entry.places,
        }
    }
}

impl Folder {
    /// Reads every `*.toml` file in `directory` and below it, in the order of their names. Hidden
    /// files and folders are left out, and linked folders are not followed. Blocks.
    pub fn read(directory: &Path) -> Result<Self, MetadataError> {
        let mut files = Vec::new();
        collect(directory, 0, &mut files)?;
        if files.is_empty() {
            return Err(MetadataError::Empty {
                path: directory.to_owned(),
            });
        }
        files.sort();
        let mut texts = Vec::with_capacity(files.len());
        let mut bytes = 0;
        for path in &files {
            let text = read_file(path)?;
            bytes += text.len() as u64;
            if bytes > FOLDER_BYTES_MAX {
                return Err(MetadataError::TooLarge {
                    path: directory.to_owned(),
                    what: format!("its files are larger than {FOLDER_BYTES_MAX} bytes together"),
                    help: "is it the folder of the metadata?".to_owned(),
                });
            }
            texts.push((name_in(directory, path), path.display().to_string(), text));
        }
        let mut folder = Self::default();
        let mut digest = Sha256::new();
        for (name, shown, text) in &texts {
            for part in [name, text] {
                // With its length, so that no two folders run together into the same bytes.
                digest.update((part.len() as u64).to_be_bytes());
                digest.update(part.as_bytes());
            }
            document::read(shown, text, &mut folder);
        }
        folder.digest = digest.finalize().into();
        Ok(folder)
    }

    /// Reads one text as if it were the only file of a folder.
    #[must_use]
    pub fn of_text(name: &str, text: &str) -> Self {
        let mut folder = Self {
            digest: Sha256::digest(text).into(),
            ..Self::default()
        };
        document::read(name, text, &mut folder);
        folder
    }
}

/// The file's path in the folder, the same on every machine.
fn name_in(directory: &Path, path: &Path) -> String {
    let inside = path.strip_prefix(directory).unwrap_or(path);
    let parts: Vec<_> = inside
        .components()
        .map(|part| part.as_os_str().to_string_lossy())
        .collect();
    parts.join("/")
}

fn collect(directory: &Path, depth: usize, files: &mut Vec<PathBuf>) -> Result<(), MetadataError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| MetadataError::Read { path, source }
    };
    for found in fs::read_dir(directory).map_err(failed(directory))? {
        let found = found.map_err(failed(directory))?;
        let path = found.path();
        if found.file_name().to_string_lossy().starts_with('.') {
            continue;
        }
        let kind = found.file_type().map_err(failed(&path))?;
        if kind.is_dir() {
            if depth == FOLDER_DEPTH_MAX {
                return Err(MetadataError::TooLarge {
                    path,
                    what: format!("folders lie more than {FOLDER_DEPTH_MAX} deep"),
                    help: "is it the folder of the metadata?".to_owned(),
                });
            }
            collect(&path, depth + 1, files)?;
        } else if path.extension().is_some_and(|extension| extension == "toml")
            // Mounted configuration is often a link to a file.
            && fs::metadata(&path).map_err(failed(&path))?.is_file()
        {
            files.push(path);
            if files.len() > FILES_MAX {
                return Err(MetadataError::TooLarge {
                    path: directory.to_owned(),
                    what: format!("there are more than {FILES_MAX} files"),
                    help: "is it the folder of the metadata?".to_owned(),
                });
            }
        }
    }
    Ok(())
}

fn read_file(path: &Path) -> Result<String, MetadataError> {
    use io::Read as _;
    let failed = |source| MetadataError::Read {
        path: path.to_owned(),
        source,
    };
    let mut text = String::new();
    let file = fs::File::open(path).map_err(failed)?;
    // The bound holds also for a file that grows while it is read.
    file.take(FILE_BYTES_MAX + 1)
        .read_to_string(&mut text)
        .map_err(failed)?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(MetadataError::TooLarge {
            path: path.to_owned(),
            what: format!("the file is larger than {FILE_BYTES_MAX} bytes"),
            help: "split it into several files".to_owned(),
        });
    }
    Ok(text)
}
