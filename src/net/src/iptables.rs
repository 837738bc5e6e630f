//! iptables rules as data, applied as one transaction.
//!
//! Whoever owns chains names them with one prefix below `COPEPOD-`, and never touches others: built-in chains get one
//! jump each. What is described replaces, in one `iptables-restore --noflush`, all that the prefix had in these tables;
//! packets meet the old rules or the new.

mod error;
mod render;

use std::process::{Output, Stdio};

use tokio::io::AsyncWriteExt;
use tokio::process::Command;

pub use error::Error;

/// Every prefix begins so.
pub const NAMESPACE: &str = "COPEPOD-";

/// Longest name of a chain that the kernel takes.
const MAX_CHAIN: usize = 28;

/// Tables in which a removal looks for chains.
const TABLES: &[&str] = &["filter", "nat", "mangle", "raw"];

/// IPv4 or IPv6.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// `iptables`.
    V4,
    /// `ip6tables`.
    V6,
}

impl Family {
    fn program(self) -> &'static str {
        match self {
            Self::V4 => "iptables",
            Self::V6 => "ip6tables",
        }
    }
}

/// Which kernel interface the programs use; rules of one are not seen by the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backend {
    /// nf_tables.
    Nft,
    /// x_tables.
    Legacy,
}

/// A table with all chains that the owner has in it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Table {
    /// `filter`, `nat`, `mangle` or `raw`.
    pub name: String,
    /// Own chains.
    pub chains: Vec<Chain>,
    /// Ways from built-in chains to own ones.
    pub jumps: Vec<Jump>,
}

/// A chain with its rules in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Chain {
    /// Name with the owner's prefix, at most 28 bytes.
    pub name: String,
    /// Arguments of each rule, without `-A` and chain, as `["-s", "10.42.0.0/16", "-j", "ACCEPT"]`.
    pub rules: Vec<Vec<String>>,
}

/// A rule in a built-in chain that leads to an own one. There is one for each pair of chains: to change its
/// conditions, give the own chain another name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Jump {
    /// Built-in chain, as `FORWARD`.
    pub from: String,
    /// Own chain.
    pub to: String,
    /// Conditions, as `["-m", "conntrack", "--ctstate", "NEW"]`.
    pub conditions: Vec<String>,
    /// Before all rules of others, or after.
    pub first: bool,
}

/// The programs of one family.
#[derive(Debug, Clone)]
pub struct Iptables {
    save: String,
    restore: String,
    backend: Backend,
}

impl Iptables {
    /// Finds the programs: those that `iptables` stands for on this machine where they work, else the other variant.
    ///
    /// # Errors
    /// [`Error::NotInstalled`] without any, [`Error::Failed`] when none works with this kernel.
    pub async fn detect(family: Family) -> Result<Self, Error> {
        let program = family.program();
        let mut first = None;
        for variant in [String::new(), "-nft".to_owned(), "-legacy".to_owned()] {
            let found = Self::probe(&format!("{program}{variant}")).await;
            match found {
                Ok(found) => return Ok(found),
                // The plain name's error tells most, unless it is only missing.
                Err(error) if matches!(first, None | Some(Error::NotInstalled { .. })) => first = Some(error),
                Err(_) => {}
            }
        }
        Err(first.unwrap_or(Error::NotInstalled { program: program.to_owned() }))
    }

    async fn probe(program: &str) -> Result<Self, Error> {
        let version = run(program, &["--version"], None).await?;
        let backend = if version.contains("nf_tables") { Backend::Nft } else { Backend::Legacy };
        let found = Self { save: format!("{program}-save"), restore: format!("{program}-restore"), backend };
        // The program may be there and the kernel's part not.
        run(&found.restore, &["--noflush", "--wait", "--test"], Some("*filter\nCOMMIT\n")).await?;
        Ok(found)
    }

    /// Which variant was found.
    #[must_use]
    pub fn backend(&self) -> Backend {
        self.backend
    }

    /// Makes the tables have exactly these chains of `prefix`; nothing else is touched.
    ///
    /// # Errors
    /// When a name is wrong or the kernel refuses a rule; nothing has changed then.
    pub async fn apply(&self, prefix: &str, tables: &[Table]) -> Result<(), Error> {
        render::check(prefix, tables)?;
        let mut text = String::new();
        for table in tables {
            let saved = self.saved(&table.name).await?;
            render::table(&mut text, prefix, table, &saved);
        }
        run(&self.restore, &["--noflush", "--wait"], Some(&text)).await.map(|_| ())
    }

    /// Deletes every chain of `prefix` and the jumps to it, in all tables. True when there was any.
    ///
    /// # Errors
    /// When the kernel refuses, as for a chain that foreign rules jump to from their own chains.
    pub async fn remove(&self, prefix: &str) -> Result<bool, Error> {
        render::check(prefix, &[])?;
        let mut text = String::new();
        for name in TABLES {
            let saved = self.saved(name).await?;
            if saved.contains(prefix) {
                let empty = Table { name: (*name).to_owned(), ..Table::default() };
                render::table(&mut text, prefix, &empty, &saved);
            }
        }
        if text.is_empty() {
            return Ok(false);
        }
        run(&self.restore, &["--noflush", "--wait"], Some(&text)).await.map(|_| true)
    }

    /// A table as `iptables-save` prints it; empty where the kernel does not have the table.
    ///
    /// # Errors
    /// When the program cannot be run.
    pub async fn saved(&self, table: &str) -> Result<String, Error> {
        match run(&self.save, &["-t", table], None).await {
            // The legacy variant complains about a table whose module is not there: it has no rules then.
            Err(Error::Failed { stderr, .. }) if stderr.contains("does not exist") => Ok(String::new()),
            other => other,
        }
    }
}

async fn run(program: &str, arguments: &[&str], input: Option<&str>) -> Result<String, Error> {
    let failed = |source: std::io::Error| {
        if source.kind() == std::io::ErrorKind::NotFound {
            Error::NotInstalled { program: program.to_owned() }
        } else {
            Error::Run { program: program.to_owned(), source }
        }
    };
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() })
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(failed)?;
    let feed = child.stdin.take();
    let write = async {
        if let (Some(mut feed), Some(input)) = (feed, input) {
            // It may end at the first wrong line; then its status tells.
            let _ = feed.write_all(input.as_bytes()).await;
        }
    };
    let ((), output) = tokio::join!(write, child.wait_with_output());
    let Output { status, stdout, stderr } = output.map_err(failed)?;
    if status.success() {
        return Ok(String::from_utf8_lossy(&stdout).into_owned());
    }
    let stderr = String::from_utf8_lossy(&stderr).trim().to_owned();
    let rule = input.and_then(|input| error::named_line(&stderr, input));
    Err(Error::Failed { program: program.to_owned(), status: status.to_string(), stderr, rule })
}
