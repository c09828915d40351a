//! What is in force, key by key, and where each value comes from.

use std::fmt;
use std::path::PathBuf;

use toml_edit::{ImDocument, Item, Value};

use super::reference;

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    Default,
    /// Neither given nor needed.
    Unset,
    File {
        path: PathBuf,
        line: usize,
    },
    Environment {
        variable: String,
    },
    /// Laid over everything else.
    Layer(&'static str),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::Unset => f.write_str("not set"),
            Self::File { path, line } => write!(f, "{}:{line}", path.display()),
            Self::Layer(name) => f.write_str(name),
            Self::Environment { variable } => write!(f, "environment {variable}"),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Effective {
    pub path: String,
    /// As TOML writes it.
    pub value: String,
    pub origin: Origin,
}

/// TOML that is laid over file and environment, and what to call it.
pub type Layer = (&'static str, String);

/// Every key with the value in force: the last of `layers` that has it before environment before file before default.
/// `text` is the file's content, which [`super::load()`] has found to be valid; `variable` looks into the environment.
#[must_use]
pub fn effective(
    file: &std::path::Path,
    text: &str,
    variable: impl Fn(&str) -> Option<String>,
    layers: &[Layer],
) -> Vec<Effective> {
    let document = ImDocument::parse(text).ok();
    let layers: Vec<_> = layers
        .iter()
        .rev()
        .filter_map(|(name, text)| Some((*name, text.as_str(), ImDocument::parse(text.as_str()).ok()?)))
        .collect();
    let mut rows: Vec<Effective> = Vec::new();
    for key in reference::keys() {
        let name = key.variable();
        let laid_over = layers
            .iter()
            .find_map(|(name, text, layer)| Some((find(layer.as_item(), text, &key.path)?.0, *name)));
        let (value, origin) = if let Some((value, name)) = laid_over {
            (value, Origin::Layer(name))
        } else if let Some(value) = variable(&name) {
            (value, Origin::Environment { variable: name })
        } else if let Some((value, line)) =
            document.as_ref().and_then(|document| find(document.as_item(), text, &key.path))
        {
            (value, Origin::File { path: file.to_owned(), line })
        } else if key.optional {
            (String::new(), Origin::Unset)
        } else {
            (key.value, Origin::Default)
        };
        rows.push(Effective { path: key.path, value, origin });
    }
    rows
}

/// The line, counted from 1, where `path` stands in a file; of its nearest section when it is not there itself.
#[must_use]
pub fn line_of(text: &str, path: &str) -> Option<usize> {
    let document = ImDocument::parse(text).ok()?;
    let mut path = path;
    loop {
        if let Some(at) = position(document.as_item(), path) {
            return Some(line_at(text, at));
        }
        (path, _) = path.rsplit_once('.')?;
    }
}

fn find(root: &Item, text: &str, path: &str) -> Option<(String, usize)> {
    let mut item = root;
    for name in path.split('.') {
        item = item.get(name)?;
    }
    let span = item.span()?;
    let written = match item {
        Item::Value(Value::InlineTable(_)) | Item::Value(_) => text.get(span.clone())?.trim().to_owned(),
        _ => return None,
    };
    Some((written, line_at(text, position(root, path).unwrap_or(span.start))))
}

/// Where the key itself begins.
fn position(root: &Item, path: &str) -> Option<usize> {
    let (parents, name) = path.rsplit_once('.').map_or((None, path), |(parents, name)| (Some(parents), name));
    let mut item = root;
    for parent in parents.into_iter().flat_map(|parents| parents.split('.')) {
        item = item.get(parent)?;
    }
    let table = item.as_table_like()?;
    let (key, value) = table.get_key_value(name)?;
    key.span().or_else(|| value.span()).map(|span| span.start)
}

fn line_at(text: &str, at: usize) -> usize {
    text.get(..at).map_or(1, |before| before.matches('\n').count() + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    const TEXT: &str = "state_dir = '/srv/avl'\n\n[source]\nkind = 'serial' # here\npath = '/dev/x'\n\n[uplink.quic]\naddress = \"a:1\"\n";

    fn row(rows: &[Effective], path: &str) -> (String, String) {
        let row = rows.iter().find(|row| row.path == path).unwrap();
        (row.value.clone(), row.origin.to_string())
    }

    #[test]
    fn environment_goes_before_file_before_default() {
        let rows = effective(
            Path::new("g.toml"),
            TEXT,
            |name| (name == "AVL_EDGE__UPLINK__LATENCY").then(|| "60s".to_owned()),
            &[],
        );
        let pair = |value: &str, origin: &str| (value.to_owned(), origin.to_owned());
        assert_eq!(row(&rows, "state_dir"), pair("'/srv/avl'", "g.toml:1"));
        assert_eq!(row(&rows, "source.kind"), pair("'serial'", "g.toml:4"));
        assert_eq!(row(&rows, "uplink.quic.address"), pair("\"a:1\"", "g.toml:8"));
        assert_eq!(row(&rows, "uplink.latency"), pair("60s", "environment AVL_EDGE__UPLINK__LATENCY"));
        assert_eq!(row(&rows, "buffer.durability"), pair("\"5s\"", "default"));
        assert_eq!(row(&rows, "uplink.quic.server_name").1, "not set");
    }

    #[test]
    fn the_last_layer_goes_before_everything() {
        let layers = [
            ("the cloud", "[uplink]\nlatency = '9s'\n[buffer]\ndurability = '2s'".to_owned()),
            ("a command", "uplink.latency = '1s'".to_owned()),
        ];
        let rows = effective(Path::new("g.toml"), TEXT, |_| Some("60s".to_owned()), &layers);
        let pair = |value: &str, origin: &str| (value.to_owned(), origin.to_owned());
        assert_eq!(row(&rows, "uplink.latency"), pair("'1s'", "a command"));
        assert_eq!(row(&rows, "buffer.durability"), pair("'2s'", "the cloud"));
        assert_eq!(row(&rows, "uplink.ack_interval").0, "60s");
    }

    #[test]
    fn lines_are_those_an_editor_shows() {
        assert_eq!(line_of(TEXT, "source.path"), Some(5));
        assert_eq!(line_of(TEXT, "source.missing"), Some(3), "its section");
        assert_eq!(line_of(TEXT, "nowhere"), None);
        assert_eq!(line_of("[broken", "source"), None);
    }
}
