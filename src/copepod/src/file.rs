//! The configuration file: keys are flag names, values are flag values.
//!
//! `config.yaml` is read first, then the files of `config.yaml.d/` in alphabetical order; a later file replaces a
//! key of an earlier one, `key+` appends to it. What the command line or the environment says beats every file.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use clap::parser::ValueSource;
use clap::{ArgAction, ArgMatches};
use serde_json::Value;

/// Why the configuration could not be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("cannot read the configuration file {path}")]
    Read { path: PathBuf, source: io::Error },
    #[error("{path} is not valid YAML with one map of flag names to values: {detail}")]
    Parse { path: PathBuf, detail: String },
    #[error("{path}: {key} must be {expected}")]
    Value { path: PathBuf, key: String, expected: &'static str },
}

/// A key's values, and the file that set them last.
struct Entry {
    values: Vec<String>,
    path: PathBuf,
}

/// The arguments that the files add to a command line that was parsed as `matches` for `command`.
///
/// Keys that no flag has are logged and skipped, as k3s does, so that one file may serve several versions.
pub(crate) fn arguments(
    command: &clap::Command,
    matches: &ArgMatches,
    config: &Path,
    explicit: bool,
) -> Result<(Vec<OsString>, Vec<String>), Error> {
    let mut entries = BTreeMap::new();
    for path in files(config, explicit)? {
        read(&path, &mut entries)?;
    }
    let mut arguments = Vec::new();
    let mut unknown = Vec::new();
    for (key, entry) in entries {
        let Some(argument) = command.get_arguments().find(|a| a.get_long() == Some(key.as_str())) else {
            unknown.push(format!("{}: unknown key {key:?} is ignored", entry.path.display()));
            continue;
        };
        let id = argument.get_id().as_str();
        if matches!(matches.value_source(id), Some(ValueSource::CommandLine | ValueSource::EnvVariable)) {
            continue;
        }
        let value_error = |expected| Error::Value { path: entry.path.clone(), key: key.clone(), expected };
        match argument.get_action() {
            ArgAction::SetTrue => match entry.values.as_slice() {
                [value] if value == "true" => arguments.push(format!("--{key}").into()),
                [value] if value == "false" => {}
                _ => return Err(value_error("true or false")),
            },
            ArgAction::Append => {
                arguments.extend(entry.values.iter().map(|value| OsString::from(format!("--{key}={value}"))));
            }
            _ => match entry.values.as_slice() {
                [value] => arguments.push(format!("--{key}={value}").into()),
                _ => return Err(value_error("one value, not a list")),
            },
        }
    }
    Ok((arguments, unknown))
}

/// The files that exist. A file named explicitly must exist.
fn files(config: &Path, explicit: bool) -> Result<Vec<PathBuf>, Error> {
    let mut files = Vec::new();
    if explicit || config.exists() {
        files.push(config.to_owned());
    }
    let mut folder = config.as_os_str().to_owned();
    folder.push(".d");
    let folder = PathBuf::from(folder);
    if folder.is_dir() {
        let read_error = |source| Error::Read { path: folder.clone(), source };
        let mut more = Vec::new();
        for entry in fs::read_dir(&folder).map_err(read_error)? {
            let path = entry.map_err(read_error)?.path();
            if path.extension().is_some_and(|e| e == "yaml" || e == "yml") {
                more.push(path);
            }
        }
        more.sort();
        files.extend(more);
    }
    Ok(files)
}

fn read(path: &Path, entries: &mut BTreeMap<String, Entry>) -> Result<(), Error> {
    let text = fs::read_to_string(path).map_err(|source| Error::Read { path: path.to_owned(), source })?;
    if text.lines().all(|line| line.trim().is_empty() || line.trim_start().starts_with('#')) {
        return Ok(());
    }
    let map: BTreeMap<String, Value> = serde_saphyr::from_str(&text)
        .map_err(|error| Error::Parse { path: path.to_owned(), detail: first_line(&error.to_string()) })?;
    for (key, value) in map {
        let values = match value {
            Value::Array(list) => {
                list.iter().map(|v| scalar(path, &key, v)).collect::<Result<Vec<_>, _>>()?
            }
            Value::Null => Vec::new(),
            other => vec![scalar(path, &key, &other)?],
        };
        let name = key.trim_end_matches('+').to_owned();
        match entries.get_mut(&name) {
            Some(entry) if key.ends_with('+') => {
                entry.values.extend(values);
                entry.path = path.to_owned();
            }
            _ => {
                entries.insert(name, Entry { values, path: path.to_owned() });
            }
        }
    }
    Ok(())
}

/// The parser's message without the picture that follows it.
fn first_line(message: &str) -> String {
    message.lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned()
}

fn scalar(path: &Path, key: &str, value: &Value) -> Result<String, Error> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Bool(flag) => Ok(flag.to_string()),
        Value::Number(number) => Ok(number.to_string()),
        _ => Err(Error::Value {
            path: path.to_owned(),
            key: key.to_owned(),
            expected: "text, a number, true, false, or a list of those",
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{CommandFactory, FromArgMatches};

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("config.yaml.d")).unwrap();
        for (name, text) in files {
            fs::write(folder.path().join(name), text).unwrap();
        }
        folder
    }

    fn parse(
        folder: &tempfile::TempDir,
        line: &[&str],
    ) -> Result<(crate::cli::ServerArgs, Vec<String>), Error> {
        let command = crate::cli::Cli::command();
        let server = command.find_subcommand("server").unwrap().clone();
        let mut words: Vec<OsString> = vec!["server".into()];
        words.extend(line.iter().map(OsString::from));
        let matches = server.clone().get_matches_from(words.clone());
        let (more, unknown) = arguments(&server, &matches, &folder.path().join("config.yaml"), false)?;
        words.extend(more);
        Ok((crate::cli::ServerArgs::from_arg_matches(&server.get_matches_from(words)).unwrap(), unknown))
    }

    #[test]
    fn later_files_replace_keys_and_a_plus_appends() {
        let folder = folder(&[
            ("config.yaml", "node-label: [a=1]\ntls-san: one\nhttps-listen-port: 7000\n"),
            ("config.yaml.d/1.yaml", "node-label+: [b=2]\ntls-san: [two, three]\n"),
        ]);
        let (args, _) = parse(&folder, &[]).unwrap();
        assert_eq!(args.node.node_label, ["a=1", "b=2"]);
        assert_eq!(args.listener.tls_san, ["two", "three"]);
        assert_eq!(args.listener.https_listen_port, 7000);
    }

    #[test]
    fn the_command_line_beats_the_file() {
        let folder = folder(&[("config.yaml", "https-listen-port: 7000\ndisable-agent: true\n")]);
        let (args, _) = parse(&folder, &["--https-listen-port=7001"]).unwrap();
        assert_eq!(args.listener.https_listen_port, 7001);
        assert!(args.cluster.disable_agent);
    }

    #[test]
    fn an_unknown_key_is_told_and_skipped() {
        let folder = folder(&[("config.yaml", "no-such-flag: 1\ndebug: true\n")]);
        let (args, unknown) = parse(&folder, &[]).unwrap();
        assert!(args.general.debug);
        assert!(unknown[0].contains("no-such-flag"), "{unknown:?}");
    }

    #[test]
    fn a_value_of_the_wrong_shape_names_the_file_and_the_key() {
        let folder = folder(&[("config.yaml", "https-listen-port: [1, 2]\n")]);
        let error = parse(&folder, &[]).unwrap_err().to_string();
        assert!(error.contains("config.yaml") && error.contains("https-listen-port"), "{error}");
    }
}
