//! What others say, without what a log must not hold.

/// A URL, or what was meant to be one, without user, password and query.
pub(super) fn without_password(url: &str) -> String {
    let url = url.split_once('?').map_or(url, |(url, _)| url);
    let Some((before, host)) = url.rsplit_once('@') else { return url.to_owned() };
    // A password can hold anything where somebody forgot to encode it, so all goes that can belong to it.
    let scheme = before.split_once("://").map_or("", |(scheme, _)| scheme);
    if scheme.is_empty() { host.to_owned() } else { format!("{scheme}://{host}") }
}

/// Words of an error without the passwords of URLs in it, and without what a program printed that was to give keys: it may
/// be the keys.
pub(super) fn without_secrets(part: &str) -> String {
    // The SDK's words.
    let (part, left_out) = match part.split_once(". Stderr: ") {
        Some((part, _)) => (part, "; run it by hand to see why, as what it prints may be secret"),
        None => (part, ""),
    };
    let words: Vec<String> = part.split(' ').map(word).collect();
    words.join(" ") + left_out
}

fn word(word: &str) -> String {
    if word.contains(['/', ':']) && word.contains('@') { without_password(word) } else { word.to_owned() }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn urls() {
        for (url, expected) in [
            ("http://user:pass@host:80/path", "http://host:80/path"),
            ("http://host:80/path", "http://host:80/path"),
            ("http://host/path?key=pass", "http://host/path"),
            ("http://user:pa/s@s@host", "http://host"),
            ("http:/user:pass@host", "host"),
            ("user:pass@host", "host"),
            ("", ""),
        ] {
            assert_eq!(without_password(url), expected, "{url}");
        }
    }

    #[test]
    fn errors() {
        for (part, expected) in [
            ("connection refused", "connection refused"),
            ("invalid: http://user:pass@host/keys", "invalid: http://host/keys"),
            ("a@b is nobody", "a@b is nobody"),
            (
                "external process exited with code exit status: 1. Stderr: pass\npass",
                "external process exited with code exit status: 1; run it by hand to see why, as what it prints may be \
                 secret",
            ),
        ] {
            assert_eq!(without_secrets(part), expected, "{part}");
        }
    }

    proptest! {
        /// Whatever stands around it, no password of a URL is left.
        #[test]
        fn no_password_is_left(
            before in "([a-z ]{0,9} )?",
            scheme in "(https?://|http:/|)",
            around in "[a-z/:?#@]{0,5}",
            after in "( [a-z ]{0,9})?",
        ) {
            let said = without_secrets(&format!("{before}{scheme}user:{around}SECRET@host{after}"));
            prop_assert!(!said.contains("SECRET"), "{said}");
        }
    }
}
