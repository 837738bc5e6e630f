//! From data to the input of `iptables-restore`.

use std::collections::BTreeSet;
use std::fmt::Write;

use super::{Error, Jump, MAX_CHAIN, NAMESPACE, Table};

/// Refuses names by which one owner could touch what is not his.
pub(super) fn check(prefix: &str, tables: &[Table]) -> Result<(), Error> {
    let wrong = |chain: &str, problem: &str| {
        Err(Error::Name { chain: chain.to_owned(), problem: problem.to_owned() })
    };
    if !prefix.starts_with(NAMESPACE) {
        return wrong(prefix, "a prefix begins with COPEPOD-");
    }
    for table in tables {
        for chain in &table.chains {
            let name = &chain.name;
            let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
            if !name.starts_with(prefix) {
                return wrong(name, &format!("the name must begin with {prefix}"));
            }
            if name.len() > MAX_CHAIN || !name.chars().all(plain) {
                return wrong(name, "at most 28 letters, digits, '-' and '_'");
            }
        }
        for jump in &table.jumps {
            if !table.chains.iter().any(|chain| chain.name == jump.to) {
                return wrong(&jump.to, "the jump leads to a chain that the table does not have");
            }
        }
    }
    Ok(())
}

/// A rule of `iptables-save`, as far as it matters here.
struct Saved<'a> {
    from: &'a str,
    to: &'a str,
    /// Everything after `-A <chain> `, to be used with `-D`.
    rest: &'a str,
}

fn saved_jumps<'a>(saved: &'a str, prefix: &'a str) -> impl Iterator<Item = Saved<'a>> {
    saved.lines().filter_map(move |line| {
        let (from, rest) = line.strip_prefix("-A ")?.split_once(' ')?;
        let mut words = rest.split(' ');
        words.find(|word| matches!(*word, "-j" | "-g"))?;
        let to = words.next()?;
        (to.starts_with(prefix) && !from.starts_with(prefix)).then_some(Saved { from, to, rest })
    })
}

/// One table's part of the transaction, given how the table is now.
pub(super) fn table(text: &mut String, prefix: &str, table: &Table, saved: &str) {
    // Writing to a String cannot fail.
    let _ = writeln!(text, "*{}", table.name);
    let names: BTreeSet<&str> = table.chains.iter().map(|chain| chain.name.as_str()).collect();
    for name in &names {
        // Declared again, a chain is made or emptied.
        let _ = writeln!(text, ":{name} - [0:0]");
    }
    let saved_chain = |line: &'_ str| -> Option<String> {
        let name = line.strip_prefix(':')?.split(' ').next()?;
        (name.starts_with(prefix) && !names.contains(name)).then(|| name.to_owned())
    };
    let stale: Vec<String> = saved.lines().filter_map(saved_chain).collect();
    let mut present: Vec<&Jump> = Vec::new();
    for jump in saved_jumps(saved, prefix) {
        let wanted = table.jumps.iter().find(|wanted| wanted.from == jump.from && wanted.to == jump.to);
        match wanted {
            Some(wanted) if !present.contains(&wanted) => present.push(wanted),
            _ => {
                let _ = writeln!(text, "-D {} {}", jump.from, jump.rest);
            }
        }
    }
    for chain in &table.chains {
        for rule in &chain.rules {
            let _ = writeln!(text, "-A {} {}", chain.name, join(rule));
        }
    }
    for jump in table.jumps.iter().filter(|jump| !present.contains(jump)) {
        let place = if jump.first { format!("-I {} 1", jump.from) } else { format!("-A {}", jump.from) };
        let conditions = join(&jump.conditions);
        let space = if conditions.is_empty() { "" } else { " " };
        let _ = writeln!(text, "{place}{space}{conditions} -j {}", jump.to);
    }
    for name in &stale {
        let _ = writeln!(text, "-F {name}");
    }
    for name in &stale {
        let _ = writeln!(text, "-X {name}");
    }
    text.push_str("COMMIT\n");
}

/// Arguments as `iptables-restore` splits them: quoted where they hold a space or quote.
fn join(arguments: &[String]) -> String {
    let quoted = arguments.iter().map(|argument| {
        if argument.is_empty() || argument.contains([' ', '"', '\'', '\\', '\t']) {
            format!("\"{}\"", argument.replace('\\', "\\\\").replace('"', "\\\""))
        } else {
            argument.clone()
        }
    });
    quoted.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::super::Chain;
    use super::*;

    fn strings(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    fn forward() -> Table {
        Table {
            name: "filter".to_owned(),
            chains: vec![Chain {
                name: "COPEPOD-FWD".to_owned(),
                rules: vec![strings(&["-m", "comment", "--comment", "pod traffic", "-j", "ACCEPT"])],
            }],
            jumps: vec![Jump {
                from: "FORWARD".to_owned(),
                to: "COPEPOD-FWD".to_owned(),
                conditions: Vec::new(),
                first: true,
            }],
        }
    }

    #[test]
    fn a_jump_that_is_there_is_not_inserted_again_and_a_second_one_goes() {
        let saved = "*filter\n:COPEPOD-FWD - [0:0]\n:COPEPOD-FWD-OLD - [0:0]\n-A FORWARD -j COPEPOD-FWD\n\
                     -A FORWARD -s 1.2.3.4/32 -j COPEPOD-FWD\n-A INPUT -j COPEPOD-FWD-OLD\nCOMMIT\n";
        let mut text = String::new();
        table(&mut text, "COPEPOD-FWD", &forward(), saved);
        assert_eq!(
            text,
            "*filter\n:COPEPOD-FWD - [0:0]\n-D FORWARD -s 1.2.3.4/32 -j COPEPOD-FWD\n-D INPUT -j COPEPOD-FWD-OLD\n\
             -A COPEPOD-FWD -m comment --comment \"pod traffic\" -j ACCEPT\n-F COPEPOD-FWD-OLD\n\
             -X COPEPOD-FWD-OLD\nCOMMIT\n"
        );
    }

    #[test]
    fn chains_of_others_cannot_be_named() {
        assert!(check("KUBE-", &[]).is_err());
        assert!(check("COPEPOD-NAT", &[forward()]).is_err());
        assert!(check("COPEPOD-FWD", &[forward()]).is_ok());
    }
}
