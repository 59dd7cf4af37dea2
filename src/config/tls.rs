//! The settings of TLS to other servers. Clients are served without it.

/// Whom to believe, and who we are.
#[derive(Clone, Debug, Default)]
pub struct TlsSettings {
    /// Whether the server that is followed is spoken to over TLS.
    pub replication: bool,
    /// File of the certificates of who vouches for others. Empty, as the folder: those that the
    /// system knows.
    pub ca_cert_file: String,
    /// Folder of such files.
    pub ca_cert_dir: String,
    /// File of the certificate to show. Empty: none.
    pub client_cert_file: String,
    /// File of its key.
    pub client_key_file: String,
}

impl TlsSettings {
    /// The settings that name files, with what they name.
    pub fn files(&self) -> [(&'static str, &str); 4] {
        [
            ("tls-ca-cert-file", &self.ca_cert_file),
            ("tls-ca-cert-dir", &self.ca_cert_dir),
            ("tls-client-cert-file", &self.client_cert_file),
            ("tls-client-key-file", &self.client_key_file),
        ]
    }
}
