//! A new guest project: a folder that builds on its own and passes its tests.
//!
//! The files stand in `templates/`, one folder for each language, and are part of this crate's binary,
//! so that `althing new` needs nothing else on the machine.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// Files of the Rust template: where each goes, and what is in it.
const RUST: [(&str, &str); 6] = [
    ("Cargo.toml", include_str!("../templates/rust/Cargo.toml.template")),
    (".gitignore", include_str!("../templates/rust/gitignore")),
    ("config.json", include_str!("../templates/rust/config.json")),
    ("README.md", include_str!("../templates/rust/README.md")),
    ("src/lib.rs", include_str!("../templates/rust/src/lib.rs")),
    ("tests/engine.rs", include_str!("../templates/rust/tests/engine.rs")),
];

/// Where a new project's SDK comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sdk {
    /// A checkout of Althing: its folder.
    Checkout(PathBuf),
    /// A registry: the version.
    Version(String),
}

impl Sdk {
    /// A dependency on one of the SDK's packages, which lies in `folder` of a checkout.
    fn dependency(&self, package: &str, folder: &str) -> String {
        match self {
            Self::Checkout(checkout) => {
                let path = checkout.join("guest-sdk").join(folder);
                // As TOML has it: a literal text, in which backslashes are themselves.
                format!("{package} = {{ path = '{}' }}", path.display())
            }
            Self::Version(version) => format!("{package} = \"{version}\""),
        }
    }
}

/// Why there is no new project.
#[derive(Debug, thiserror::Error)]
pub enum NewError {
    /// Cargo would not take the name.
    #[error("{name:?} is no name for a package: letters, digits, `-` and `_`, beginning with a letter")]
    BadName {
        /// The name.
        name: String,
    },
    /// Something is in the way.
    #[error("{} is there already: choose another name, or remove it", folder.display())]
    Exists {
        /// The folder.
        folder: PathBuf,
    },
    /// The SDK is not where it was said to be.
    #[error("{} is no checkout of Althing: there is no guest-sdk in it", checkout.display())]
    NoSdk {
        /// The folder.
        checkout: PathBuf,
    },
    /// A file cannot be written.
    #[error("{} cannot be written", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
}

/// Makes the project `name` in a new folder of that name within `parent`, and gives back the folder.
///
/// # Errors
/// See [`NewError`]. Nothing that was there before is touched.
pub fn new_project(parent: &Path, name: &str, sdk: &Sdk) -> Result<PathBuf, NewError> {
    check_name(name)?;
    let sdk = &located(sdk)?;
    let folder = parent.join(name);
    if folder.exists() {
        return Err(NewError::Exists { folder });
    }
    let words = [
        ("{{name}}", name.to_owned()),
        ("{{guest}}", sdk.dependency("althing-guest", "althing-guest")),
        ("{{testkit}}", sdk.dependency("althing-testkit", "testkit")),
    ];
    for (place, text) in RUST {
        let text = words.iter().fold(text.to_owned(), |text, (word, value)| text.replace(word, value));
        write(&folder.join(place), &text)?;
    }
    Ok(folder)
}

/// The SDK with a path that holds wherever the project lies.
fn located(sdk: &Sdk) -> Result<Sdk, NewError> {
    let Sdk::Checkout(checkout) = sdk else { return Ok(sdk.clone()) };
    let no_sdk = || NewError::NoSdk { checkout: checkout.clone() };
    let found = checkout.canonicalize().map_err(|_| no_sdk())?;
    if found.join("guest-sdk/althing-guest/Cargo.toml").is_file() {
        Ok(Sdk::Checkout(found))
    } else {
        Err(no_sdk())
    }
}

fn check_name(name: &str) -> Result<(), NewError> {
    let begins = name.starts_with(|first: char| first.is_ascii_alphabetic());
    let goes_on = name.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '-' || letter == '_');
    if begins && goes_on { Ok(()) } else { Err(NewError::BadName { name: name.to_owned() }) }
}

fn write(path: &Path, text: &str) -> Result<(), NewError> {
    let folder = path.parent().expect("every file of a template is in the project's folder");
    fs::create_dir_all(folder)
        .and_then(|()| fs::write(path, text))
        .map_err(|source| NewError::Io { path: path.to_path_buf(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_cargo_would_refuse_is_refused_first() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["", "1st", "a b", "../out", "ä"] {
            let refused = new_project(folder.path(), name, &Sdk::Version("0.1".into()));
            assert!(matches!(refused, Err(NewError::BadName { .. })), "{name:?}: {refused:?}");
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn what_is_there_is_never_touched() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("mine")).unwrap();
        let refused = new_project(folder.path(), "mine", &Sdk::Version("0.1".into()));
        assert!(matches!(refused, Err(NewError::Exists { .. })), "{refused:?}");
    }

    #[test]
    fn a_folder_that_is_no_checkout_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let sdk = Sdk::Checkout(folder.path().to_path_buf());
        let refused = new_project(folder.path(), "mine", &sdk);
        assert!(matches!(refused, Err(NewError::NoSdk { .. })), "{refused:?}");
    }

    #[test]
    fn no_word_of_the_template_is_left_over() {
        let folder = tempfile::tempdir().unwrap();
        let project = new_project(folder.path(), "mine", &Sdk::Version("0.1".into())).unwrap();
        for (place, _) in RUST {
            let text = fs::read_to_string(project.join(place)).unwrap();
            assert!(!text.contains("{{") || place.ends_with(".rs"), "{place}: {text}");
        }
        let manifest = fs::read_to_string(project.join("Cargo.toml")).unwrap();
        assert!(manifest.contains("name = \"mine\"") && manifest.contains("althing-guest = \"0.1\""));
    }
}
