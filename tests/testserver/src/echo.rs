//! Echo servers: what arrives is sent back until the sender closes its side.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, TcpListener, UdpSocket};
use std::thread;
use std::time::Duration;

/// Largest UDP payload.
const DATAGRAM: usize = 65_507;

/// Echoes every TCP connection to `port`.
pub(crate) fn listen_tcp(port: u16) -> io::Result<()> {
    let listener = TcpListener::bind((Ipv6Addr::UNSPECIFIED, port))?;
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || io::copy(&mut &stream, &mut &stream));
        }
    });
    Ok(())
}

/// Echoes every datagram to `port`.
pub(crate) fn listen_udp(port: u16) -> io::Result<()> {
    let socket = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, port))?;
    thread::spawn(move || {
        let mut buffer = vec![0; DATAGRAM];
        while let Ok((length, from)) = socket.recv_from(&mut buffer) {
            // The receiver may be gone already; the next one is not.
            let _ = socket.send_to(&buffer[..length], from);
        }
    });
    Ok(())
}

/// Sends `text` to an echo server and returns what comes back within five seconds.
pub(crate) fn ask_udp(address: &str, text: &str) -> io::Result<String> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    socket.set_read_timeout(Some(Duration::from_secs(5)))?;
    socket.send_to(text.as_bytes(), address)?;
    let mut buffer = vec![0; DATAGRAM];
    let length = socket.recv(&mut buffer)?;
    Ok(String::from_utf8_lossy(&buffer[..length]).into_owned())
}
