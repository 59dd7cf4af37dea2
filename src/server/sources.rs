//! Where settings come from: a file that is named, those that it includes, standard input, and the
//! command line.

use crate::config::{Config, ConfigError, Sources};
use crate::util::glob::{self, Case};
use std::fs;
use std::io::{self, Read};

/// The file first, then standard input, then the options: what comes later overrides. Beside the
/// settings stands what is accepted without effect.
pub fn read(sources: &Sources) -> Result<(Config, Vec<String>), ConfigError> {
    let mut text = String::new();
    if let Some(path) = &sources.conf_path {
        text = fs::read_to_string(path).map_err(|error| match is_word(path) {
            true => ConfigError::no_subcommand(path),
            false => ConfigError::cannot_open(path, &error),
        })?;
        text.push('\n');
    }
    if sources.stdin {
        io::stdin()
            .read_to_string(&mut text)
            .map_err(|error| ConfigError::cannot_open("-", &error))?;
    }
    text += &sources.lines;
    Config::from_lines(&text, &mut included)
}

/// Whether this looks less like a file than like something that toril might do.
fn is_word(path: &str) -> bool {
    path.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-' || byte == b'_')
}

/// The whole path of the file that is named first, which may be seen from another directory later;
/// empty if there is none.
pub fn config_file(sources: &Sources) -> String {
    let named = sources.conf_path.as_deref().unwrap_or_default();
    let path = std::path::absolute(named).unwrap_or_else(|_| named.into());
    if named.is_empty() { String::new() } else { path.to_string_lossy().into_owned() }
}

/// The text of an included file, or those of all files that a pattern in the path's last part
/// matches, in the order of their names; there may be none.
fn included(path: &str) -> io::Result<Vec<String>> {
    let (folder, pattern) = path.rsplit_once('/').unwrap_or((".", path));
    if !pattern.contains(['*', '?', '[']) {
        return Ok(vec![fs::read_to_string(path)?]);
    }
    let Ok(entries) = fs::read_dir(format!("{folder}/")) else {
        return Ok(Vec::new());
    };
    let mut names: Vec<String> =
        entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
    names.retain(|name| glob::matches(pattern.as_bytes(), name.as_bytes(), Case::Sensitive));
    names.sort();
    names.iter().map(|name| fs::read_to_string(format!("{folder}/{name}"))).collect()
}
