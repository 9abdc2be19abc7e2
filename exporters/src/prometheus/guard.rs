//! What stands between a client and the page.

/// What a client of the page has to go through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Guard {
    /// It speaks TLS.
    pub tls: bool,
    /// It asks for a name and a password.
    pub password: bool,
    /// It takes only clients whose certificate is signed by an authority of ours.
    pub client_certificate: bool,
}

impl Guard {
    /// `https` or `http`.
    pub fn scheme(self) -> &'static str {
        if self.tls { "https" } else { "http" }
    }

    /// Why others than those who should can read the page; `None` where they cannot.
    pub fn gap(self) -> Option<&'static str> {
        match self {
            Self { tls: true, password: true, .. } | Self { tls: true, client_certificate: true, .. } => None,
            Self { tls: true, .. } => Some("TLS, but neither passwords nor certificates of clients"),
            Self { password: true, .. } => Some("passwords, but no TLS, so that they can be read on the way"),
            _ => Some("no TLS, no password"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_who_is_known_over_tls_leaves_no_gap() {
        for (tls, password, client_certificate, gap) in [
            (true, true, false, false),
            (true, false, true, false),
            (true, true, true, false),
            (true, false, false, true),
            (false, true, false, true),
            (false, false, false, true),
        ] {
            let guard = Guard { tls, password, client_certificate };
            assert_eq!(guard.gap().is_some(), gap, "{guard:?}");
        }
    }
}
