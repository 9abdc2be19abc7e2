//! Which form of the page a client gets.
//!
//! Sources: RFC 9110 section 12.5; Prometheus' exposition formats (text 0.0.4) and OpenMetrics 1.0.

use std::str::FromStr as _;

/// The two exposition formats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Prometheus' text format 0.0.4: what everyone understands.
    Text,
    /// OpenMetrics 1.0.
    OpenMetrics,
}

impl Format {
    /// The Content-Type that names it.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }

    /// OpenMetrics where the client ranks it at least as high as text; else text, also for clients that ask for
    /// neither.
    pub fn from_accept(accept: &str) -> Self {
        let (mut open_metrics, mut text) = (0.0f32, 0.0f32);
        for offer in accept.split(',') {
            let mut parts = offer.split(';').map(str::trim);
            let media = parts.next().unwrap_or_default().to_ascii_lowercase();
            let (mut quality, mut version) = (1.0, None);
            for parameter in parts {
                match parameter.split_once('=').map(|(name, value)| (name.trim(), value.trim().trim_matches('"'))) {
                    Some(("q", value)) => {
                        let legal = f32::from_str(value).ok().filter(|quality| (0.0..=1.0).contains(quality));
                        quality = legal.unwrap_or(0.0);
                    }
                    Some(("version", value)) => version = Some(value),
                    _ => {}
                }
            }
            match (media.as_str(), version) {
                ("application/openmetrics-text", None | Some("1.0.0")) => open_metrics = quality.max(open_metrics),
                ("text/plain", None | Some("0.0.4")) => text = quality.max(text),
                _ => {}
            }
        }
        if open_metrics > 0.0 && open_metrics >= text { Self::OpenMetrics } else { Self::Text }
    }
}

/// Whether the body is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// As it is.
    Identity,
    /// gzip.
    Gzip,
}

impl Encoding {
    /// gzip where the client accepts it: by its name, or else by `*`, which stands for what is not named.
    pub fn from_accept_encoding(accept: &str) -> Self {
        let (mut named, mut any) = (None, false);
        for offer in accept.split(',') {
            let mut parts = offer.split(';').map(str::trim);
            let name = parts.next().unwrap_or_default();
            let refused = parts.any(|parameter| {
                parameter.strip_prefix("q=").is_some_and(|quality| f32::from_str(quality).is_ok_and(|q| q == 0.0))
            });
            if name.eq_ignore_ascii_case("gzip") {
                named = Some(named.unwrap_or(false) || !refused);
            } else if name == "*" {
                any = !refused;
            }
        }
        if named.unwrap_or(any) { Self::Gzip } else { Self::Identity }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_get_what_they_ask_for() {
        let prometheus_2_42 = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
        let prometheus_3 = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
        for (accept, format) in [
            (prometheus_2_42, Format::OpenMetrics),
            (prometheus_3, Format::OpenMetrics),
            ("application/openmetrics-text; version=0.0.1", Format::Text),
            ("application/openmetrics-text;q=0.3,text/plain;q=0.9", Format::Text),
            ("application/openmetrics-text;q=0,*/*", Format::Text),
            ("application/openmetrics-text;q=high", Format::Text),
            ("application/openmetrics-text,text/plain;q=5", Format::OpenMetrics),
            ("text/html,*/*;q=0.8", Format::Text),
            ("", Format::Text),
        ] {
            assert_eq!(Format::from_accept(accept), format, "{accept}");
        }
    }

    #[test]
    fn gzip_where_it_is_accepted() {
        for (accept, encoding) in [
            ("gzip", Encoding::Gzip),
            ("br, GZIP;q=0.5", Encoding::Gzip),
            ("*", Encoding::Gzip),
            ("gzip;q=0", Encoding::Identity),
            ("gzip;q=0, *", Encoding::Identity),
            ("*;q=0, gzip", Encoding::Gzip),
            ("gzip; q=0.0, identity", Encoding::Identity),
            ("deflate", Encoding::Identity),
            ("", Encoding::Identity),
        ] {
            assert_eq!(Encoding::from_accept_encoding(accept), encoding, "{accept}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_header_panics(text in ".{0,120}") {
            let _ = (Format::from_accept(&text), Encoding::from_accept_encoding(&text));
        }
    }
}
