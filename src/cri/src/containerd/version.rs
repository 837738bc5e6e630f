//! Which containerd this is.

use std::fmt;
use std::io;
use std::path::Path;

use tokio::process::Command;

use super::Error;

/// A version of containerd; what follows the three numbers is not compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    /// First number.
    pub major: u32,
    /// Second number.
    pub minor: u32,
    /// Third number.
    pub patch: u32,
}

impl Version {
    /// The oldest that speaks CRI v1.
    pub const OLDEST: Version = Version { major: 1, minor: 6, patch: 0 };

    /// Asks the program.
    ///
    /// # Errors
    /// When it is not installed, not containerd, or older than [`Version::OLDEST`].
    pub async fn of(binary: &Path) -> Result<Self, Error> {
        let name = binary.display().to_string();
        let output = Command::new(binary).arg("--version").output().await.map_err(|source| {
            if source.kind() == io::ErrorKind::NotFound {
                Error::NotInstalled { binary: name.clone() }
            } else {
                Error::Spawn { binary: name.clone(), source }
            }
        })?;
        let text = String::from_utf8_lossy(&output.stdout);
        let line = text.lines().next().unwrap_or_default();
        let found = Self::parse(line)
            .ok_or_else(|| Error::Version { binary: name.clone(), output: line.to_owned() })?;
        if found < Self::OLDEST {
            return Err(Error::TooOld { binary: name, found });
        }
        Ok(found)
    }

    /// From `containerd <module> <version> <revision>`, with the decorations of distributions.
    fn parse(line: &str) -> Option<Self> {
        let mut words = line.split_whitespace();
        if words.next()? != "containerd" {
            return None;
        }
        let word = words.find_map(|word| {
            let word = word.strip_prefix('v').unwrap_or(word);
            (word.starts_with(|c: char| c.is_ascii_digit()) && word.contains('.')).then_some(word)
        })?;
        let mut numbers = word.splitn(3, '.').map(|part| {
            let end = part.find(|c: char| !c.is_ascii_digit()).unwrap_or(part.len());
            part[..end].parse().ok()
        });
        let major = numbers.next()??;
        let minor = numbers.next()??;
        let patch = numbers.next().flatten().unwrap_or(0);
        Some(Self { major, minor, patch })
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_debian_docker_and_upstream_are_understood() {
        let parse = |line| Version::parse(line).map(|v| v.to_string());
        let debian = "containerd github.com/containerd/containerd 1.6.20~ds1 1.6.20~ds1-1+deb12u3";
        assert_eq!(parse(debian), Some("1.6.20".to_owned()));
        assert_eq!(parse("containerd containerd.io 1.7.24 88bf19b2"), Some("1.7.24".to_owned()));
        let two = "containerd github.com/containerd/containerd/v2 v2.1.0-rc.1 061792f0";
        assert_eq!(parse(two), Some("2.1.0".to_owned()));
        assert_eq!(parse("containerdx 1.7"), None);
        assert_eq!(parse("containerd unknown"), None);
    }
}
