//! What runs inside the test pods: a small server and a handful of ways to behave well or badly.
//!
//! It uses threads and the standard library only, so that it links statically and starts at once.
#![allow(clippy::print_stdout, clippy::print_stderr)] // its output is what the tests read

mod echo;
mod http;

use nix::sys::signal::{SigSet, Signal};
use std::collections::VecDeque;
use std::io::{self, Write};
use std::process::exit;
use std::time::Duration;
use std::{env, fs, thread};

const USAGE: &str = "\
usage: testserver [--term-delay-ms MS] [--ignore-term] COMMAND
  serve [HTTP_PORT [TCP_ECHO_PORT [UDP_ECHO_PORT]]]   8080, 8081 and 8082 unless given
  log COUNT INTERVAL_MS [TEXT]    numbered lines on standard output (COUNT 0: without end), then exit 0
  stderr TEXT                     one line on standard output, one on standard error, then wait
  sleep MS                        then exit 0
  exit CODE [AFTER_MS]
  alloc MIB                       touches that much memory, says so, then waits
  write PATH TEXT                 then waits
  get ADDRESS:PORT PATH           prints the body of an HTTP answer
  udp ADDRESS:PORT TEXT           sends a datagram and prints the answer
  print                           arguments, working directory, user and environment, then exit 0";

fn main() {
    let mut args: VecDeque<String> = env::args().skip(1).collect();
    let mut term = Term { delay: Duration::ZERO, ignored: false };
    while let Some(flag) = args.pop_front_if(|first| first.starts_with("--")) {
        match flag.as_str() {
            "--term-delay-ms" => term.delay = millis(&take(&mut args)),
            "--ignore-term" => term.ignored = true,
            _ => usage(),
        }
    }
    handle_termination(term);
    let command = take(&mut args);
    if let Err(error) = run(&command, args) {
        eprintln!("{command}: {error}");
        exit(1);
    }
}

fn run(command: &str, mut args: VecDeque<String>) -> io::Result<()> {
    match command {
        "serve" => serve(args)?,
        "log" => {
            let (count, interval) = (number(&take(&mut args)), millis(&take(&mut args)));
            log_lines(count, interval, args.pop_front().as_deref().unwrap_or("line"))?;
            return Ok(());
        }
        "stderr" => {
            let text = take(&mut args);
            println!("out {text}");
            eprintln!("err {text}");
        }
        "sleep" => {
            thread::sleep(millis(&take(&mut args)));
            return Ok(());
        }
        "exit" => {
            let code = number(&take(&mut args));
            thread::sleep(args.pop_front().map_or(Duration::ZERO, |after| millis(&after)));
            println!("leaving with {code}");
            exit(i32::try_from(code).unwrap_or(1));
        }
        "alloc" => {
            let mib = usize::try_from(number(&take(&mut args))).unwrap_or(usize::MAX);
            let memory = vec![1_u8; mib << 20];
            println!("allocated {} MiB", memory.len() >> 20);
            wait_for_the_end();
        }
        "write" => {
            let path = take(&mut args);
            fs::write(&path, take(&mut args))?;
            println!("wrote {path}");
        }
        "get" => {
            let address = take(&mut args);
            println!("{}", http::get(&address, &take(&mut args))?);
            return Ok(());
        }
        "udp" => {
            let address = take(&mut args);
            println!("{}", echo::ask_udp(&address, &take(&mut args))?);
            return Ok(());
        }
        "print" => {
            print_surroundings(&args)?;
            return Ok(());
        }
        _ => usage(),
    }
    wait_for_the_end()
}

fn serve(mut args: VecDeque<String>) -> io::Result<()> {
    let mut port =
        |default| args.pop_front().map_or(Ok(default), |text| text.parse()).unwrap_or_else(|_| usage());
    let (http, tcp, udp) = (port(8080), port(8081), port(8082));
    http::listen(http)?;
    echo::listen_tcp(tcp)?;
    echo::listen_udp(udp)?;
    println!("serving http {http}, tcp {tcp}, udp {udp}");
    Ok(())
}

fn log_lines(count: u64, interval: Duration, text: &str) -> io::Result<()> {
    let mut out = io::stdout();
    for line in 1.. {
        writeln!(out, "{text} {line}")?;
        if line == count {
            break;
        }
        thread::sleep(interval);
    }
    Ok(())
}

fn print_surroundings(args: &VecDeque<String>) -> io::Result<()> {
    for arg in args {
        println!("arg {arg}");
    }
    println!("cwd {}", env::current_dir()?.display());
    println!("user {}:{}", nix::unistd::getuid(), nix::unistd::getgid());
    println!("hostname {}", hostname());
    for (name, value) in env::vars() {
        println!("env {name}={value}");
    }
    Ok(())
}

/// The UTS namespace's host name.
fn hostname() -> String {
    fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default().trim().to_owned()
}

/// What SIGTERM does.
struct Term {
    delay: Duration,
    ignored: bool,
}

/// Takes SIGTERM in a thread of its own; must run before any other thread starts, as they inherit the mask.
/// A process that is number 1 of its namespace would otherwise never see the signal.
fn handle_termination(term: Term) {
    let signals = SigSet::from(Signal::SIGTERM);
    if let Err(error) = signals.thread_block() {
        eprintln!("cannot block SIGTERM: {error}");
        exit(1);
    }
    thread::spawn(move || {
        while signals.wait().is_ok() {
            println!("got SIGTERM");
            if !term.ignored {
                thread::sleep(term.delay);
                println!("bye");
                exit(0);
            }
        }
    });
}

fn wait_for_the_end() -> ! {
    loop {
        thread::park();
    }
}

fn take(args: &mut VecDeque<String>) -> String {
    args.pop_front().unwrap_or_else(|| usage())
}

fn number(text: &str) -> u64 {
    text.parse().unwrap_or_else(|_| usage())
}

fn millis(text: &str) -> Duration {
    Duration::from_millis(number(text))
}

fn usage() -> ! {
    eprintln!("{USAGE}");
    exit(64)
}
