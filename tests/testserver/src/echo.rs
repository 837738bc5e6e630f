//! Echo servers: what arrives is sent back until the sender closes its side.

use std::io;
use std::net::{Ipv6Addr, TcpListener, UdpSocket};
use std::thread;

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
