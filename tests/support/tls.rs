//! Certificates of every kind, made by OpenSSL; curl, a client that is not ours.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A password, and what htpasswd makes of it at the lowest cost.
pub(crate) const PASSWORD: &str = "correct horse";
pub(crate) const HASH: &str = "$2y$04$abcdefghijklmnopqrstuujydOTSfIH/d5oUHpsygqV5X9xJLQc6e";
/// The same with the cost of 6, as another version writes it.
pub(crate) const COSTLIER: &str = "$2a$06$abcdefghijklmnopqrstuud/5IuQmqhVO0kfNEbHJM.fJkPiliBzC";
/// Of the password "other".
pub(crate) const OTHER_HASH: &str = "$2y$04$abcdefghijklmnopqrstuu0HtfOlPbTiymk5tcV.3TsFPDd3SYZqu";

/// When a certificate is good.
pub(crate) const LONG_AGO: (&str, &str) = ("20200101000000Z", "20200201000000Z");
pub(crate) const NOW: (&str, &str) = ("20200101000000Z", "20990101000000Z");
pub(crate) const NOT_YET: (&str, &str) = ("20980101000000Z", "20990101000000Z");

const NEW_KEY: &str = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";

/// An authority with a folder: `ca.pem`, and what it signs.
pub(crate) struct Authority(pub tempfile::TempDir);

impl Authority {
    pub(crate) fn new() -> Self {
        let authority = Self(tempfile::tempdir().expect("a folder"));
        authority.openssl(&format!("req -x509 {NEW_KEY} -keyout ca.key -out ca.pem -subj /CN=authority -days 30"));
        authority.write("database", "");
        authority.write("serial", "01");
        let configuration = "[ca]\ndefault_ca = all\n[all]\ndatabase = database\nserial = serial\nnew_certs_dir = .\n\
            default_md = sha256\npolicy = any\nunique_subject = no\ncopy_extensions = copy\n[any]\ncommonName = supplied\n";
        authority.write("ca.cnf", configuration);
        authority
    }

    /// `NAME.pem` and `NAME.key`, good in this time, with these alternative names.
    pub(crate) fn sign(&self, name: &str, (begin, end): (&str, &str), names: &str) {
        self.openssl(&format!(
            "req -new {NEW_KEY} -keyout {name}.key -out request -subj /CN={name} -addext subjectAltName={names}"
        ));
        self.openssl(&format!(
            "ca -batch -notext -config ca.cnf -cert ca.pem -keyfile ca.key -in request -out {name}.pem \
             -startdate {begin} -enddate {end}"
        ));
    }

    /// The certificate of the server, for this machine.
    pub(crate) fn sign_server(&self, name: &str) {
        self.sign(name, NOW, "DNS:localhost,IP:127.0.0.1");
    }

    /// A certificate that signs itself.
    pub(crate) fn sign_itself(&self, name: &str) {
        self.openssl(&format!(
            "req -x509 {NEW_KEY} -keyout {name}.key -out {name}.pem -subj /CN={name} -days 30 \
             -addext subjectAltName=DNS:localhost,IP:127.0.0.1"
        ));
    }

    pub(crate) fn openssl(&self, args: &str) {
        let output = Command::new("openssl").args(args.split(' ')).current_dir(self.0.path()).output();
        let output = output.expect("openssl: apt-get install openssl");
        assert!(output.status.success(), "openssl {args}: {}", String::from_utf8_lossy(&output.stderr));
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// A file's path, for an argument.
    pub(crate) fn text(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    /// Writes a file beside the certificates, as a whole: nobody sees a part of it. Its path.
    pub(crate) fn write(&self, name: &str, text: &str) -> String {
        std::fs::write(self.path("new"), text).expect("written");
        std::fs::rename(self.path("new"), self.path(name)).expect("renamed");
        self.text(name)
    }

    pub(crate) fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).expect("a file")
    }
}

/// What curl has to say.
#[derive(Debug)]
pub(crate) struct Answer {
    /// Of HTTP; 0 where there was none.
    pub status: u16,
    pub text: String,
    /// Head lines of the answer, and what curl complains about.
    pub said: String,
}

/// Asks an agent over TLS, trusting `ca.pem` of the folder, in which curl runs.
pub(crate) fn curl(folder: &Path, address: SocketAddr, path: &str, args: &[&str]) -> Answer {
    let output = Command::new("curl")
        .args(["--silent", "--show-error", "--include", "--max-time", "10", "--cacert", "ca.pem"])
        .args(["--write-out", "\n%{http_code}", "--noproxy", "*"])
        .args(args)
        .arg(format!("https://{address}{path}"))
        .current_dir(folder)
        .output()
        .expect("curl: apt-get install curl");
    let all = String::from_utf8_lossy(&output.stdout).into_owned();
    let (all, status) = all.rsplit_once('\n').unwrap_or(("", "0"));
    let (head, text) = all.split_once("\r\n\r\n").unwrap_or((all, ""));
    let said = format!("{head}\n{}", String::from_utf8_lossy(&output.stderr)).to_ascii_lowercase();
    Answer { status: status.parse().expect("a number"), text: text.to_owned(), said }
}
