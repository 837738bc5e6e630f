//! Raw requests to the API, for what kubectl would never send.

use crate::process::Finished;
use crate::sandbox::Sandbox;
use std::path::PathBuf;

/// Who asks.
#[derive(Debug, Clone)]
pub enum Credentials {
    /// The administrator of the kubeconfig.
    Admin,
    /// Nobody: no certificate, no token.
    Nobody,
    /// A certificate and its key, PEM files.
    Certificate(PathBuf, PathBuf),
    /// A bearer token.
    Token(String),
}

/// An HTTP answer.
#[derive(Debug, Clone)]
pub struct Answer {
    /// HTTP status.
    pub code: u16,
    /// Response headers as sent.
    pub headers: String,
    /// The body.
    pub body: String,
}

impl Answer {
    /// The body as JSON.
    ///
    /// # Panics
    /// When it is none.
    #[track_caller]
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error} in {self:?}"))
    }

    /// Fails the test unless this is a `Status` with this code and reason, whose message contains `text`.
    ///
    /// # Panics
    /// As described.
    #[track_caller]
    pub fn is_status(&self, code: u16, reason: &str, text: &str) {
        let status = self.json();
        let found =
            (self.code, status["kind"].as_str(), status["apiVersion"].as_str(), status["reason"].as_str());
        assert_eq!(found, (code, Some("Status"), Some("v1"), Some(reason)), "{self:?}");
        assert_eq!((&status["status"], &status["code"]), (&"Failure".into(), &code.into()), "{self:?}");
        let message = status["message"].as_str().unwrap_or_default();
        assert!(message.contains(text), "the message should contain {text:?}: {message:?}");
    }
}

/// Sends requests to a cluster's API.
pub struct Curl<'a> {
    pub(crate) sandbox: &'a Sandbox,
    pub(crate) server: String,
    pub(crate) authority: PathBuf,
    pub(crate) admin: (PathBuf, PathBuf),
}

impl Curl<'_> {
    /// GET as the administrator.
    #[track_caller]
    #[must_use]
    pub fn get(&self, path: &str) -> Answer {
        self.send(&Credentials::Admin, "GET", path, &[], b"")
    }

    /// A request with a JSON body as the administrator.
    #[track_caller]
    #[must_use]
    pub fn json(&self, method: &str, path: &str, body: impl AsRef<[u8]>) -> Answer {
        self.send(&Credentials::Admin, method, path, &["Content-Type: application/json"], body.as_ref())
    }

    /// Any request; `headers` are whole lines.
    ///
    /// # Panics
    /// When no answer came.
    #[track_caller]
    #[must_use]
    pub fn send(&self, who: &Credentials, method: &str, path: &str, headers: &[&str], body: &[u8]) -> Answer {
        self.try_send(who, method, path, headers, body)
            .unwrap_or_else(|failure| panic!("no answer: {failure}"))
    }

    /// Any request.
    ///
    /// # Errors
    /// When no answer came: TLS or the connection failed.
    pub fn try_send(
        &self,
        who: &Credentials,
        method: &str,
        path: &str,
        headers: &[&str],
        body: &[u8],
    ) -> Result<Answer, Finished> {
        let mut command = self.sandbox.network_command("curl");
        command.args(["--silent", "--show-error", "--include", "--path-as-is", "--max-time", "60"]);
        command.args(["--request", method, "--cacert"]).arg(&self.authority);
        // No interim "100 Continue" in the output.
        command.args(["--header", "Expect:"]);
        for header in headers {
            command.args(["--header", header]);
        }
        match who {
            Credentials::Admin => {
                command.arg("--cert").arg(&self.admin.0).arg("--key").arg(&self.admin.1);
            }
            Credentials::Certificate(cert, key) => {
                command.arg("--cert").arg(cert).arg("--key").arg(key);
            }
            Credentials::Token(token) => {
                command.args(["--header", &format!("Authorization: Bearer {token}")]);
            }
            Credentials::Nobody => {}
        }
        if !body.is_empty() {
            command.args(["--data-binary", "@-"]);
        }
        command.arg(format!("{}{path}", self.server));
        let output = Finished::of(&mut command, body);
        let Some((head, body)) = output.stdout.split_once("\r\n\r\n") else {
            return Err(output);
        };
        let code = head.split(' ').nth(1).and_then(|code| code.parse().ok());
        Ok(Answer { code: code.unwrap_or(0), headers: head.to_owned(), body: body.to_owned() })
    }
}
