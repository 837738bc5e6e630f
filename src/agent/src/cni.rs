//! The CNI role: the same executable, called by the container runtime (CNI 1.0.0).
//!
//! Parameters come in the environment, the configuration on standard input; the result or the error goes to standard
//! output as JSON. Each call is a process of its own that a pod's start waits for, so nothing is read or started that is
//! not needed: no async runtime, no flags, no log.

mod conf;
mod loopback;
mod ops;

use std::io::{Read, Write};
use std::process::ExitCode;

use conf::{Conf, Parameters};
use serde_json::{Value, json};

/// Version spoken to those who ask for none.
const CNI_VERSION: &str = "1.0.0";
/// Versions understood.
const SUPPORTED: &[&str] = &["0.4.0", "1.0.0", "1.1.0"];

/// What CNI calls an error: a number, a short text, details.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct CniError {
    code: u32,
    message: String,
    details: String,
}

impl CniError {
    fn new(code: u32, message: &str, details: impl Into<String>) -> Self {
        Self { code, message: message.to_owned(), details: details.into() }
    }

    /// An environment variable is missing or wrong.
    fn environment(details: impl Into<String>) -> Self {
        Self::new(4, "invalid environment variables", details)
    }

    /// The configuration cannot be understood.
    fn decoding(details: impl Into<String>) -> Self {
        Self::new(6, "failed to decode the network configuration", details)
    }

    /// The kernel refused something.
    fn failed(error: &(dyn std::error::Error + 'static)) -> Self {
        Self::new(999, &copepod_base::Chain(error).to_string(), "")
    }
}

/// Whether this process was started as a CNI plugin.
#[must_use]
pub fn is_called() -> bool {
    std::env::var_os("CNI_COMMAND").is_some()
}

/// Does what `CNI_COMMAND` asks for.
pub fn main() -> ExitCode {
    let mut input = Vec::new();
    let read = std::io::stdin().lock().read_to_end(&mut input);
    let answer = match read {
        Ok(_) => answer(&Parameters::from_env(), &input),
        Err(error) => Err(CniError::new(5, "cannot read standard input", error.to_string())),
    };
    let (text, code) = match answer {
        Ok(None) => return ExitCode::SUCCESS,
        Ok(Some(value)) => (value, ExitCode::SUCCESS),
        Err(error) => {
            let version = version_of(&input);
            let mut value = json!({"cniVersion": version, "code": error.code, "msg": error.message});
            if !error.details.is_empty() {
                value["details"] = Value::String(error.details);
            }
            (value, ExitCode::FAILURE)
        }
    };
    // A closed standard output means nobody waits for the answer.
    let _ = writeln!(std::io::stdout().lock(), "{text}");
    code
}

fn version_of(input: &[u8]) -> String {
    let conf: Value = serde_json::from_slice(input).unwrap_or_default();
    conf["cniVersion"].as_str().unwrap_or(CNI_VERSION).to_owned()
}

/// The answer to one call; nothing for commands without a result.
pub(crate) fn answer(parameters: &Parameters, input: &[u8]) -> Result<Option<Value>, CniError> {
    let command = parameters.command.as_str();
    if command == "VERSION" {
        let version = version_of(input);
        return Ok(Some(json!({"cniVersion": version, "supportedVersions": SUPPORTED})));
    }
    let kind: Value = serde_json::from_slice(input).map_err(|e| CniError::decoding(e.to_string()))?;
    if kind["type"] == loopback::TYPE {
        return loopback::answer(&version_of(input), parameters);
    }
    let conf = Conf::parse(input)?;
    if !SUPPORTED.contains(&conf.cni_version.as_str()) {
        return Err(CniError::new(
            1,
            "incompatible CNI versions",
            format!("config is \"{}\", plugin supports {SUPPORTED:?}", conf.cni_version),
        ));
    }
    match command {
        "ADD" => ops::add(&conf, parameters).map(Some),
        "DEL" => ops::del(&conf, parameters).map(|()| None),
        "CHECK" => ops::check(&conf, parameters).map(|()| None),
        "STATUS" => ops::status(&conf).map(|()| None),
        "GC" => ops::gc(&conf).map(|()| None),
        other => Err(CniError::environment(format!("unknown CNI_COMMAND: {other}"))),
    }
}

#[cfg(test)]
mod tests;
