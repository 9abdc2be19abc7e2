//! Addresses of loopback that nobody else listens at. A port that was free a moment ago may be another test's by now.

use std::net::SocketAddr;

use tokio::net::TcpSocket;

/// It refuses every connection: the kernel gives out no port below 1024 by itself, and nobody asks for this one.
pub(crate) const REFUSING: &str = "127.0.0.1:1";

/// An address that refuses every connection until somebody is told to listen there, and again once that one is gone.
pub(crate) struct Reserved(TcpSocket);

impl Reserved {
    pub(crate) fn new() -> Self {
        let socket = TcpSocket::new_v4().expect("a socket");
        // Bound, so that nobody else gets the port; shared, so that whoever is told of it does.
        socket.set_reuseaddr(true).expect("an option");
        socket.bind(SocketAddr::from(([127, 0, 0, 1], 0))).expect("a free port");
        Self(socket)
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.0.local_addr().expect("bound")
    }

    /// The service starts there.
    #[cfg(feature = "cloudwatch")]
    pub(crate) fn open(&self) -> hostgauge_cloudwatch_double::Double {
        let options = hostgauge_cloudwatch_double::Options { listen: self.address(), ..Default::default() };
        hostgauge_cloudwatch_double::Double::start(options).expect("the double starts")
    }
}
