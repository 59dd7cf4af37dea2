//! Certificates that live as long as a test.

use super::program::Folder;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use std::net::TcpListener;

/// Files of an authority, and of a server and a client that it vouches for.
pub struct Certificates(Folder);

impl Certificates {
    /// The server's is for the address 127.0.0.1 and for no name.
    pub fn new(name: &str) -> Self {
        let this = Self(Folder::new(name));
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, "authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        this.write("ca.pem", &params.self_signed(&key).unwrap().pem());
        let authority = Issuer::new(params, key);
        for who in ["server", "client"] {
            let key = KeyPair::generate().unwrap();
            let mut params = CertificateParams::new(vec!["127.0.0.1".into()]).unwrap();
            params.distinguished_name.push(DnType::CommonName, who);
            let certificate = params.signed_by(&key, &authority).unwrap();
            this.write(&format!("{who}.pem"), &certificate.pem());
            this.write(&format!("{who}.key"), &key.serialize_pem());
        }
        this
    }

    fn write(&self, file: &str, text: &str) {
        std::fs::write(self.0.0.join(file), text).unwrap();
    }

    /// The options of a Redis that serves TLS at a port.
    pub fn server_options(&self, port: u16) -> Vec<String> {
        let files =
            [("cert-file", "server.pem"), ("key-file", "server.key"), ("ca-cert-file", "ca.pem")];
        let files =
            files.iter().flat_map(|(name, file)| [format!("--tls-{name}"), self.path(file)]);
        ["--tls-port".into(), port.to_string()].into_iter().chain(files).collect()
    }

    pub fn path(&self, file: &str) -> String {
        self.0.0.join(file).to_str().unwrap().to_owned()
    }
}

/// A port that nobody listens on, for a server that cannot be asked which it has taken.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}
