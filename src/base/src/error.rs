//! Printing errors with their causes.
//!
//! `Display` of an error type prints only its own sentence; the causes stay in `source()`. [`Chain`]
//! joins them, once, where a person reads the message.

use std::error::Error;
use std::fmt;

/// Prints an error and all of its causes, separated by `: `.
///
/// A cause whose text is already the end of what was printed is left out, since some libraries repeat
/// their source in their own message.
pub struct Chain<'a>(pub &'a (dyn Error + 'static));

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = self.0.to_string();
        let mut next = self.0.source();
        while let Some(cause) = next {
            let own = cause.to_string();
            if !text.ends_with(&own) {
                text.push_str(": ");
                text.push_str(&own);
            }
            next = cause.source();
        }
        f.write_str(&text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("outer")]
    struct Outer(#[source] std::io::Error);

    #[test]
    fn a_chain_prints_every_cause_once() {
        let error = Outer(std::io::Error::other("inner"));
        assert_eq!(Chain(&error).to_string(), "outer: inner");
    }
}
