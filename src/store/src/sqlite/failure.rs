//! SQLite's errors in the store's words.

use std::io;
use std::path::Path;
use std::sync::Arc;

use rusqlite::ErrorCode;

use crate::types::Error;

/// Makes errors that name the database file.
#[derive(Debug, Clone)]
pub(crate) struct Failures {
    path: Arc<str>,
}

impl Failures {
    pub(crate) fn new(path: &Path) -> Self {
        Self { path: path.display().to_string().into() }
    }

    pub(crate) fn of(&self, error: rusqlite::Error) -> Error {
        match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => self.damaged(&error.to_string()),
            Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => {
                Error::Unwritable { path: self.path.to_string(), source: Arc::new(io::Error::other(error)) }
            }
            _ => self.backend(error.to_string()),
        }
    }

    pub(crate) fn damaged(&self, detail: &str) -> Error {
        Error::Damaged { path: self.path.to_string(), detail: detail.to_owned() }
    }

    pub(crate) fn newer(&self, found: u32, known: u32) -> Error {
        Error::Newer { path: self.path.to_string(), found, known }
    }

    pub(crate) fn backend(&self, detail: impl std::fmt::Display) -> Error {
        Error::Backend(format!("{}: {detail}", self.path).into())
    }
}
