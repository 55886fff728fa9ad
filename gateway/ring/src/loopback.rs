//! Spares connections within the host what only a network needs. In: a socket and where it leads. Out: nothing. Never here: other options.

use std::net::SocketAddr;

/// Gives a socket of the loopback interface the kernel's simplest congestion control. Nothing can be congested there, and the one that
/// suits the network (BBR paces and samples each segment) costs 2 % of a proxied call.
pub(crate) fn plain_congestion(socket: &socket2::Socket, address: &SocketAddr) {
    if address.ip().is_loopback() {
        // Every kernel has Reno and lets every user choose it; were it refused, the host's own choice would serve as well.
        let _host_choice = socket.set_tcp_congestion(b"reno");
    }
}

#[cfg(test)]
mod tests {
    use crate::{Listener, Socket};
    use socket2::SockRef;
    use std::os::fd::AsFd;

    fn check(socket: &impl AsFd, expected: &[u8]) {
        let name = SockRef::from(socket).tcp_congestion().unwrap();
        let text = name.split(|byte| *byte == 0).next().unwrap();
        assert_eq!(text, expected, "{}", String::from_utf8_lossy(text));
    }

    #[test]
    fn only_loopback_leaves_the_choice_of_the_host() {
        let host = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        let host = host.tcp_congestion().unwrap();
        let host = host.split(|byte| *byte == 0).next().unwrap();
        check(&Socket::new_stream(&"192.0.2.1:80".parse().unwrap()).unwrap(), host);
        check(&Socket::new_stream(&"127.0.0.1:80".parse().unwrap()).unwrap(), b"reno");
        check(&Socket::new_stream(&"[::1]:80".parse().unwrap()).unwrap(), b"reno");
        check(&Listener::bind("0.0.0.0:0".parse().unwrap(), 1).unwrap(), host);
        check(&Listener::bind("127.0.0.1:0".parse().unwrap(), 1).unwrap(), b"reno");
    }
}
