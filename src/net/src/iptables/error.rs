//! Why rules cannot be applied.

use std::io;

/// A failed change; the rules are as before.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No such program.
    #[error("{program} is not installed: install the package iptables")]
    NotInstalled {
        /// The program.
        program: String,
    },
    /// The program could not be run.
    #[error("cannot run {program}")]
    Run {
        /// The program.
        program: String,
        /// Cause.
        source: io::Error,
    },
    /// The program or the kernel refused.
    #[error("{program} failed ({status}): {stderr}{}", rule.as_ref().map(|rule| format!(" in {rule:?}")).unwrap_or_default())]
    Failed {
        /// The program.
        program: String,
        /// Its exit status.
        status: String,
        /// What it said.
        stderr: String,
        /// The line that it named.
        rule: Option<String>,
    },
    /// A name breaks the rules of this module.
    #[error("chain {chain:?}: {problem}")]
    Name {
        /// The chain or prefix.
        chain: String,
        /// What is wrong.
        problem: String,
    },
}

/// The input line that a message like `line 4 failed` or `line: 4` names.
pub(super) fn named_line(stderr: &str, input: &str) -> Option<String> {
    let at = stderr.find("line")?;
    let digits: String =
        stderr[at..].chars().skip_while(|c| !c.is_ascii_digit()).take_while(char::is_ascii_digit).collect();
    let number: usize = digits.parse().ok()?;
    input.lines().nth(number.checked_sub(1)?).map(str::to_owned)
}
