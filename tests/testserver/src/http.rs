//! HTTP/1.1, one request a connection: enough to be probed, proxied and asked what it sees.

use crate::hostname;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::process::exit;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;
use std::{env, fs, thread};

/// Status that `/healthz` answers with; `/healthz?code=` changes it.
static HEALTH: AtomicU16 = AtomicU16::new(200);

/// Serves on `port`:
/// `/` and `/hostname` the host name, `/client` the caller's address, `/headers`, `/env`, `/echo` the body,
/// `/files/<path>` a file, `/sleep?ms=`, `/healthz` (set by `/healthz?code=`), `/exit?code=`, `/bytes?n=`.
pub(crate) fn listen(port: u16) -> io::Result<()> {
    let listener = TcpListener::bind((Ipv6Addr::UNSPECIFIED, port))?;
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || serve(&stream));
        }
    });
    Ok(())
}

struct Request {
    path: String,
    query: String,
    headers: Vec<String>,
    body: Vec<u8>,
    client: SocketAddr,
}

fn serve(stream: &TcpStream) -> io::Result<()> {
    let request = read(stream)?;
    println!("http {} {}", request.path, request.query);
    let (status, body) = answer(&request);
    let mut out = stream;
    write!(out, "HTTP/1.1 {status} Status\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len())?;
    out.write_all(&body)
}

fn read(stream: &TcpStream) -> io::Result<Request> {
    let client = stream.peer_addr()?;
    let mut reader = BufReader::new(stream);
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        match line.trim_end() {
            "" => break,
            text => lines.push(text.to_owned()),
        }
    }
    if lines.is_empty() {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let first = lines.remove(0);
    let target = first.split(' ').nth(1).unwrap_or("/");
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let length = lines
        .iter()
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .and_then(|(_, value)| value.trim().parse().ok())
        .unwrap_or(0);
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    Ok(Request { path: path.to_owned(), query: query.to_owned(), headers: lines, body, client })
}

fn answer(request: &Request) -> (u16, Vec<u8>) {
    if let Some(path) = request.path.strip_prefix("/files/") {
        return match fs::read(format!("/{path}")) {
            Ok(content) => (200, content),
            Err(error) => (404, error.to_string().into_bytes()),
        };
    }
    match request.path.as_str() {
        "/" | "/hostname" => (200, hostname().into_bytes()),
        "/client" => (200, request.client.ip().to_canonical().to_string().into_bytes()),
        "/headers" => (200, request.headers.join("\n").into_bytes()),
        "/env" => {
            let list: Vec<String> = env::vars().map(|(name, value)| format!("{name}={value}")).collect();
            (200, list.join("\n").into_bytes())
        }
        "/echo" => (200, request.body.clone()),
        "/bytes" => (200, vec![b'x'; request.number("n").unwrap_or(0)]),
        "/sleep" => {
            thread::sleep(Duration::from_millis(request.number("ms").unwrap_or(0)));
            (200, b"slept".to_vec())
        }
        "/healthz" => {
            if let Some(code) = request.number("code") {
                HEALTH.store(code, Ordering::Relaxed);
            }
            (HEALTH.load(Ordering::Relaxed), b"health".to_vec())
        }
        "/exit" => exit(request.number("code").unwrap_or(0)),
        _ => (404, b"no such path".to_vec()),
    }
}

impl Request {
    fn number<T: std::str::FromStr>(&self, name: &str) -> Option<T> {
        let pairs = self.query.split('&').filter_map(|pair| pair.split_once('='));
        pairs.filter(|(key, _)| *key == name).find_map(|(_, value)| value.parse().ok())
    }
}

/// Body of the answer to a GET, within five seconds. busybox's client is of no use here: linked statically, it needs
/// the C library's shared name services.
pub(crate) fn get(address: &str, path: &str) -> io::Result<String> {
    let limit = Duration::from_secs(5);
    let target = address.parse().map_err(io::Error::other)?;
    let mut stream = TcpStream::connect_timeout(&target, limit)?;
    stream.set_read_timeout(Some(limit))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer.split_once("\r\n\r\n").map_or(String::new(), |(_, body)| body.to_owned()))
}
