//! What is wrong with a configuration, said so that the person can repair it.

use std::path::{Path, PathBuf};

use figment::error::Kind;

#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("cannot read the configuration {path}: {cause}: name an existing file with --config", path = path.display())]
    Unreadable { path: PathBuf, cause: std::io::Error },
    #[error("{origin}: {key}: {cause}; {cure}")]
    Key { origin: String, key: String, cause: String, cure: String },
}

impl ConfigError {
    /// A value that is well-formed but cannot be used.
    pub(super) fn value(file: &Path, key: &str, cause: &impl ToString, cure: &str) -> Self {
        Self::Key {
            origin: file.display().to_string(),
            key: format!("key '{key}'"),
            cause: cause.to_string(),
            cure: cure.to_owned(),
        }
    }

    /// With the line of the key, where it stands in the file.
    pub(super) fn located(self, file: &Path, text: &str) -> Self {
        match self {
            Self::Key { origin, key, cause, cure } if origin == file.display().to_string() => {
                let path = key.strip_prefix("key '").and_then(|rest| rest.strip_suffix('\''));
                let line = path.and_then(|path| super::effective::line_of(text, path));
                let origin = line.map_or(origin.clone(), |line| format!("{origin}:{line}"));
                Self::Key { origin, key, cause, cure }
            }
            other => other,
        }
    }

    /// The first problem that figment found.
    pub(super) fn from_figment(file: &Path, error: &figment::Error) -> Self {
        let from_environment =
            error.metadata.as_ref().is_some_and(|metadata| metadata.name.contains("environment"));
        let origin = if from_environment { "environment".to_owned() } else { file.display().to_string() };
        let mut path = error.path.clone();
        let (cause, cure) = match &error.kind {
            Kind::UnknownField(name, known) => {
                if path.last() != Some(name) {
                    path.push(name.clone());
                }
                (
                    "unknown key".to_owned(),
                    format!("remove it, or correct it to one of: {}", known.join(", ")),
                )
            }
            Kind::MissingField(name) => {
                path.push(name.to_string());
                ("missing".to_owned(), "add it; avl-edge.example.toml shows every key".to_owned())
            }
            Kind::InvalidType(found, expected) | Kind::InvalidValue(found, expected) => {
                (format!("found {found}"), format!("give {expected}"))
            }
            Kind::UnknownVariant(found, known) => {
                (format!("unknown value '{found}'"), format!("give one of: {}", known.join(", ")))
            }
            // TOML syntax errors, and the messages of our own types, which carry their cure.
            Kind::Message(message) => (message.trim().to_owned(), "correct it and start again".to_owned()),
            other => (other.to_string(), "correct it and start again".to_owned()),
        };
        let key = if path.is_empty() {
            "syntax".to_owned()
        } else if from_environment {
            format!("{}{}", super::ENV_PREFIX, path.join("__").to_uppercase())
        } else {
            format!("key '{}'", path.join("."))
        };
        Self::Key { origin, key, cause, cure }
    }
}
