//! Rules that the repository keeps as a whole; `scripts/check` runs them.

use copepod_test_support::workspace;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Which of our crates each may use: the table of the design.
const LAYERS: [(&str, &[&str]); 15] = [
    ("base", &[]),
    ("api", &[]),
    ("store", &["base"]),
    ("pki", &["base"]),
    ("cri", &["base"]),
    ("net", &["base"]),
    ("client", &["base", "api"]),
    ("apiserver", &["base", "api", "store", "pki"]),
    ("controllers", &["base", "api", "client", "pki"]),
    ("scheduler", &["base", "api", "client"]),
    ("agent", &["base", "api", "client", "cri", "net", "pki"]),
    ("proxy", &["base", "api", "client", "net"]),
    ("dns", &["base", "api", "client"]),
    ("ingress", &["base", "api", "client", "pki"]),
    (
        "copepod",
        &[
            "base",
            "api",
            "store",
            "pki",
            "cri",
            "net",
            "client",
            "apiserver",
            "controllers",
            "scheduler",
            "agent",
            "proxy",
            "dns",
            "ingress",
        ],
    ),
];

/// Packages that only one crate may use, so that what they stand for has one home.
const FENCES: [(&str, &str); 5] = [
    ("rusqlite", "store"),
    ("etcd-client", "store"),
    ("rcgen", "pki"),
    ("containerd-client", "cri"),
    ("clap", "copepod"),
];

/// Licences that a dependency may have; of a choice one is enough.
const LICENCES: [&str; 13] = [
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

/// Longest source file, in lines.
const FILE_LIMIT: usize = 800;

fn metadata(arguments: &[&str]) -> Value {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--offline"])
        .args(arguments)
        .current_dir(workspace())
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("cargo prints JSON")
}

fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value[key].as_array().map_or(&[], Vec::as_slice)
}

/// Package name and the names it depends on outside of its tests, of our crates in `src`.
fn edges() -> Vec<(String, Vec<String>)> {
    let metadata = metadata(&["--no-deps"]);
    let ours = list(&metadata, "packages").iter().filter(|package| {
        let manifest = package["manifest_path"].as_str().unwrap_or_default();
        Path::new(manifest).starts_with(workspace().join("src"))
    });
    ours.map(|package| {
        let used = list(package, "dependencies").iter().filter(|dependency| dependency["kind"] != "dev");
        let names = used.filter_map(|dependency| dependency["name"].as_str()).map(str::to_owned).collect();
        (package["name"].as_str().unwrap_or_default().replacen("copepod-", "", 1), names)
    })
    .collect()
}

#[test]
fn crates_use_only_what_the_layers_allow() {
    let layers = BTreeMap::from(LAYERS);
    let mut wrong = Vec::new();
    for (package, uses) in edges() {
        let Some(allowed) = layers.get(package.as_str()) else {
            wrong.push(format!("{package} is not in the table of layers"));
            continue;
        };
        for used in uses.iter().filter_map(|name| name.strip_prefix("copepod-")) {
            if !allowed.contains(&used) {
                wrong.push(format!("{package} may not use {used}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn fenced_packages_are_used_in_one_place() {
    let fences = BTreeMap::from(FENCES);
    let mut wrong = Vec::new();
    for (package, uses) in edges() {
        for used in uses {
            if fences.get(used.as_str()).is_some_and(|home| *home != package) {
                wrong.push(format!("{used} belongs to {}, not to {package}", fences[used.as_str()]));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_dependency_has_a_licence_that_fits() {
    // Only what this platform compiles: the rest may never have been downloaded.
    let version = Command::new("rustc").arg("-vV").output().expect("rustc runs").stdout;
    let version = String::from_utf8_lossy(&version).into_owned();
    let host = version.lines().find_map(|line| line.strip_prefix("host: ")).expect("rustc names its host");
    let metadata = metadata(&["--locked", "--filter-platform", host]);
    let mut wrong = Vec::new();
    for package in list(&metadata, "packages") {
        let licence = package["license"].as_str().unwrap_or_default();
        if !fits(licence) {
            wrong.push(format!("{}: {licence:?}", package["name"]));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Whether an SPDX expression can be met by [`LICENCES`]. Old manifests write `/` for OR.
fn fits(expression: &str) -> bool {
    let expression = expression.replace('/', " OR ");
    let (mut depth, mut parts, mut part) = (0_i32, Vec::new(), String::new());
    for word in expression.replace('(', " ( ").replace(')', " ) ").split_whitespace() {
        depth += i32::from(word == "(") - i32::from(word == ")");
        if depth == 0 && (word == "AND" || word == "OR") {
            parts.push((word.to_owned(), std::mem::take(&mut part)));
        } else {
            part = format!("{part} {word}");
        }
    }
    if parts.is_empty() {
        let part = part.trim();
        return match part.strip_prefix('(').and_then(|inner| inner.strip_suffix(')')) {
            Some(inner) => fits(inner),
            None => LICENCES.contains(&part),
        };
    }
    // AND binds tighter: an expression is a choice among groups that must be met as a whole.
    let mut group = true;
    for (joint, part) in parts {
        group &= fits(&part);
        if joint == "OR" {
            if group {
                return true;
            }
            group = true;
        }
    }
    group && fits(&part)
}

#[test]
fn licence_expressions_are_understood() {
    for good in ["MIT", "MIT OR GPL-3.0", "(MIT OR Apache-2.0) AND Unicode-3.0", "MIT/Apache-2.0"] {
        assert!(fits(good), "{good}");
    }
    for bad in ["", "GPL-3.0", "MIT AND GPL-3.0", "(MIT AND GPL-3.0) OR AGPL-3.0"] {
        assert!(!fits(bad), "{bad}");
    }
}

fn rust_files() -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders: Vec<PathBuf> = ["src", "tests", "images"].map(|folder| workspace().join(folder)).into();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder of the tree").flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    found
}

#[test]
fn no_file_is_too_long() {
    let lines = |path: &PathBuf| fs::read_to_string(path).unwrap_or_default().lines().count();
    let long: Vec<String> = rust_files()
        .iter()
        .map(|path| (lines(path), path))
        .filter(|(count, _)| *count > FILE_LIMIT)
        .map(|(count, path)| format!("{}: {count} lines, at most {FILE_LIMIT}", path.display()))
        .collect();
    assert!(long.is_empty(), "{long:#?}");
}

#[test]
fn unsafe_code_has_one_home() {
    // The pause program is no part of the workspace: it has no library that could do its system calls.
    let homes = [workspace().join("src/net/src/sys.rs"), workspace().join("images/pause/pause.rs")];
    let mut wrong = Vec::new();
    for path in rust_files().iter().filter(|path| !homes.contains(path)) {
        for (number, line) in fs::read_to_string(path).unwrap_or_default().lines().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            if ["unsafe {", "unsafe fn", "unsafe impl", "allow(unsafe_code"]
                .iter()
                .any(|word| code.contains(word))
                && !code.contains('"')
            {
                wrong.push(format!("{}:{}: {}", path.display(), number + 1, line.trim()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_crate_takes_the_workspaces_lints() {
    let metadata = metadata(&["--no-deps"]);
    for package in list(&metadata, "packages") {
        let manifest =
            fs::read_to_string(package["manifest_path"].as_str().unwrap_or_default()).unwrap_or_default();
        assert!(manifest.contains("[lints]\nworkspace = true"), "{}", package["manifest_path"]);
    }
}
