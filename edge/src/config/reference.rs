//! Every key with its default and its explanation, read from `avl-edge.example.toml`, which is built into the program.
//!
//! One source for the file that people copy and for `avl-edge config explain`: they cannot disagree.

/// The example, as it is installed.
pub const EXAMPLE: &str = include_str!("../../avl-edge.example.toml");

/// One key of the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// As in `uplink.quic.address`.
    pub path: String,
    /// As TOML writes it: the default, or an example when `optional`.
    pub value: String,
    /// Commented out in the example: absent unless given.
    pub optional: bool,
    /// One paragraph.
    pub explanation: String,
}

impl Key {
    /// The environment variable that overrides it.
    #[must_use]
    pub fn variable(&self) -> String {
        format!("{}{}", super::ENV_PREFIX, self.path.replace('.', "__").to_uppercase())
    }
}

/// Every key, in the order of the example.
#[must_use]
pub fn keys() -> Vec<Key> {
    parse(EXAMPLE)
}

/// The keys whose path resembles `wanted` most, best first: for "did you mean".
#[must_use]
pub fn nearest(wanted: &str) -> Vec<String> {
    let mut ranked: Vec<(usize, String)> = keys()
        .into_iter()
        .map(|key| {
            let name = key.path.rsplit('.').next().unwrap_or_default();
            let inside = key.path.contains(wanted) || (!name.is_empty() && wanted.ends_with(name));
            (if inside { 0 } else { distance(wanted, &key.path).min(distance(wanted, name) + 1) }, key.path)
        })
        .filter(|(far, _)| *far <= wanted.len().div_ceil(3).max(2))
        .collect();
    ranked.sort();
    ranked.truncate(5);
    ranked.into_iter().map(|(_, path)| path).collect()
}

fn parse(example: &str) -> Vec<Key> {
    let (mut keys, mut section, mut words) = (Vec::new(), String::new(), Vec::<&str>::new());
    let mut lines = example.lines().peekable();
    while let Some(line) = lines.next() {
        let (optional, bare) = match line.strip_prefix("# ") {
            Some(rest) => (true, rest),
            None => (false, line),
        };
        if let Some(name) = section_name(bare) {
            // What stands right above a section explains its first key.
            section = format!("{name}.");
        } else if let Some((name, value)) = assignment(bare) {
            let (value, remark) = split_remark(value);
            words.extend(remark);
            let mut value = value.to_owned();
            while value.starts_with('[') && !value.ends_with(']') {
                let Some(more) = lines.next() else { break };
                value.push_str(more.trim_start_matches('#').trim());
            }
            let explanation = std::mem::take(&mut words).join(" ");
            let path = format!("{section}{name}");
            // The second entry of a list shows no new keys.
            if !keys.iter().any(|key: &Key| key.path == path) {
                keys.push(Key { path, value, optional, explanation });
            }
        } else if let Some(text) = line.strip_prefix('#') {
            words.push(text.trim());
        } else if line.trim().is_empty() {
            words.clear();
        }
    }
    keys
}

/// `[a.b]` or `[[a.b]]`.
fn section_name(line: &str) -> Option<&str> {
    let name = line.strip_prefix('[')?.strip_suffix(']')?;
    let name = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    name.chars().all(|c| c.is_ascii_lowercase() || matches!(c, '_' | '.')).then_some(name)
}

/// `name = value`; prose is not taken for it, because names are single words in small letters.
fn assignment(line: &str) -> Option<(&str, &str)> {
    let (name, value) = line.split_once(" = ")?;
    let is_name =
        !name.is_empty() && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    (is_name && !value.trim().is_empty()).then_some((name, value.trim()))
}

/// A value, and the remark behind it on its line.
fn split_remark(value: &str) -> (&str, Option<&str>) {
    let (mut quote, mut at) = (None, None);
    for (index, character) in value.char_indices() {
        match (quote, character) {
            (None, '#') => {
                at = Some(index);
                break;
            }
            (None, '"' | '\'') => quote = Some(character),
            (Some(open), _) if open == character => quote = None,
            _ => {}
        }
    }
    at.map_or((value, None), |at| (value[..at].trim_end(), Some(value[at + 1..].trim())))
}

/// Levenshtein's distance: single characters inserted, deleted or replaced.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_of_the_example_is_explained() {
        let keys = keys();
        assert!(keys.len() > 10);
        for key in &keys {
            assert!(key.explanation.len() > 10, "{key:?}");
        }
        let latency = keys.iter().find(|key| key.path == "uplink.latency").unwrap();
        assert_eq!((latency.value.as_str(), latency.optional), ("\"25s\"", false));
        assert_eq!(latency.variable(), "AVL_EDGE__UPLINK__LATENCY");
        let name = keys.iter().find(|key| key.path == "uplink.quic.server_name").unwrap();
        assert!(name.optional && name.explanation.starts_with("The name that"), "{name:?}");
    }

    #[test]
    fn lists_tables_and_commented_sections_are_understood() {
        let keys = parse(
            "a = 1\n# [b.c]\n# Why d.\n# Is it = 4 or so?\n# d = [\n#   1,\n# ]\n\n[[e]]\n# Why f.\nf = 'x # y'\ng = 2 # Why g.\n",
        );
        let paths: Vec<(&str, &str, bool)> =
            keys.iter().map(|key| (key.path.as_str(), key.value.as_str(), key.optional)).collect();
        assert_eq!(
            paths,
            [("a", "1", false), ("b.c.d", "[1,]", true), ("e.f", "'x # y'", false), ("e.g", "2", false)]
        );
        assert_eq!(keys[1].explanation, "Why d. Is it = 4 or so?");
        assert_eq!(keys[3].explanation, "Why g.");
    }

    #[test]
    fn a_misspelt_key_is_recognised() {
        assert_eq!(nearest("uplink.latancy")[0], "uplink.latency");
        assert!(nearest("baud").contains(&"source.baud".to_owned()));
        assert!(nearest("zzzzzzzzzz").is_empty());
        assert_eq!(distance("kitten", "sitting"), 3);
    }
}
