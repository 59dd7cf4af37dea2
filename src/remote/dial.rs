//! Connections to other servers, over TLS where it is asked for.
//!
//! Who answers is believed if a certificate that we believe vouches for it under the name by which
//! it was called. Redis looks at the first alone; the name matters wherever who vouches does so for
//! anybody, as the system's certificates do.

use crate::config::TlsSettings;
use std::cell::OnceCell;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::{Error, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

/// What is read from and written to, whatever is below.
pub trait Duplex: AsyncRead + AsyncWrite + Unpin {}

impl<T: AsyncRead + AsyncWrite + Unpin> Duplex for T {}

/// A connection to another server.
pub type Wire = Box<dyn Duplex>;

/// Writes all of this. What TLS keeps back, it gives away at the flush alone.
///
/// # Errors
/// What happened to the connection.
pub async fn write(wire: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) -> io::Result<()> {
    wire.write_all(bytes).await?;
    wire.flush().await
}

/// What is done within a span.
///
/// # Errors
/// As the work has, or that it takes longer.
pub async fn within<T>(span: Duration, work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    timeout(span, work).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

/// Whom to believe, and what to show them.
pub struct Tls {
    settings: TlsSettings,
    /// Made when it is first wanted: to read the system's certificates takes milliseconds.
    connector: OnceCell<TlsConnector>,
}

impl Tls {
    /// By these settings, whose files are read once.
    pub fn new(settings: TlsSettings) -> Self {
        Self { settings, connector: OnceCell::new() }
    }

    pub fn settings(&self) -> &TlsSettings {
        &self.settings
    }

    fn connector(&self) -> io::Result<&TlsConnector> {
        match self.connector.get() {
            Some(connector) => Ok(connector),
            None => connector(&self.settings).map(|made| self.connector.get_or_init(|| made)),
        }
    }
}

/// Connects to a server; over TLS, if that is given.
///
/// # Errors
/// Nobody is there, or who is there is not to be believed; a file of the settings that cannot be
/// read is named.
pub async fn dial(host: &str, port: u16, tls: Option<&Tls>) -> io::Result<Wire> {
    // Before anything is said: what is wrong here is not the other side's fault.
    let connector = tls.map(Tls::connector).transpose()?;
    let stream = TcpStream::connect((host, port)).await?;
    stream.set_nodelay(true)?;
    let Some(connector) = connector else { return Ok(Box::new(stream)) };
    let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
    let stream = connector.connect(name, stream).await;
    Ok(Box::new(stream.map_err(|problem| not_believed(&problem))?))
}

/// Why nothing is said to who answers.
fn not_believed(problem: &io::Error) -> io::Error {
    let mut text = format!("TLS: {problem}");
    if text.contains("CaUsedAsEndEntity") {
        text += ": it shows the certificate of an authority. Make it with basicConstraints=CA:FALSE, \
                 or have the authority sign one for it";
    }
    io::Error::new(problem.kind(), text)
}

fn connector(tls: &TlsSettings) -> io::Result<TlsConnector> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider);
    let builder = builder.with_safe_default_protocol_versions().map_err(io::Error::other)?;
    let builder = builder.with_root_certificates(believed(tls)?);
    let config = match &tls.client_cert_file[..] {
        "" => builder.with_no_client_auth(),
        file => {
            let key_file = &tls.client_key_file;
            if key_file.is_empty() {
                let text = "tls-client-cert-file wants the key of that certificate as well: \
                            tls-client-key-file";
                return Err(io::Error::other(text));
            }
            let key = private_key(Path::new(key_file))?;
            let shown = certificates("tls-client-cert-file", Path::new(file))?;
            builder.with_client_auth_cert(shown, key).map_err(io::Error::other)?
        }
    };
    Ok(TlsConnector::from(Arc::new(config)))
}

/// Who vouches for others.
fn believed(tls: &TlsSettings) -> io::Result<RootCertStore> {
    let mut store = RootCertStore::empty();
    let mut believe = |certificate| store.add(certificate).map_err(io::Error::other);
    if tls.ca_cert_file.is_empty() && tls.ca_cert_dir.is_empty() {
        // Those that make no sense are of no use to us, and no harm.
        for certificate in rustls_native_certs::load_native_certs().certs {
            let _ = believe(certificate);
        }
    }
    if !tls.ca_cert_file.is_empty() {
        let file = Path::new(&tls.ca_cert_file);
        certificates("tls-ca-cert-file", file)?.into_iter().try_for_each(&mut believe)?;
    }
    if !tls.ca_cert_dir.is_empty() {
        for file in files_of(Path::new(&tls.ca_cert_dir))? {
            certificates("tls-ca-cert-dir", &file)?.into_iter().try_for_each(&mut believe)?;
        }
    }
    if store.is_empty() {
        return Err(io::Error::other(
            "TLS: there is no certificate to believe here; name a file of them with tls-ca-cert-file",
        ));
    }
    Ok(store)
}

/// Whether a file that a setting of TLS names can be used.
///
/// # Errors
/// Why not, with both names.
pub fn check_tls_file(setting: &str, file: &str) -> io::Result<()> {
    let path = Path::new(file);
    match setting {
        "tls-ca-cert-dir" => {
            files_of(path)?.iter().try_for_each(|file| certificates(setting, file).map(drop))
        }
        "tls-client-key-file" => private_key(path).map(drop),
        _ => certificates(setting, path).map(drop),
    }
}

fn private_key(file: &Path) -> io::Result<PrivateKeyDer<'static>> {
    PrivateKeyDer::from_pem_file(file)
        .map_err(|why| match why {
            Error::NoItemsFound => "it has no key in PEM".to_owned(),
            why => why.to_string(),
        })
        .map_err(|why| wrong("tls-client-key-file", file, &why))
}

/// The files of a folder.
fn files_of(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let failed = |why| wrong("tls-ca-cert-dir", folder, &why);
    let entries = std::fs::read_dir(folder).map_err(failed)?;
    let paths = entries.map(|entry| entry.map(|it| it.path())).collect::<io::Result<Vec<_>>>();
    Ok(paths.map_err(failed)?.into_iter().filter(|path| path.is_file()).collect())
}

/// The certificates of a file.
fn certificates(setting: &str, file: &Path) -> io::Result<Vec<CertificateDer<'static>>> {
    let all = CertificateDer::pem_file_iter(file).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let all = all.map_err(|why| wrong(setting, file, &why))?;
    if all.is_empty() {
        Err(wrong(setting, file, &"it has no certificate in PEM"))
    } else {
        Ok(all)
    }
}

/// A file that a setting names cannot be used.
fn wrong(setting: &str, file: &Path, why: &dyn std::fmt::Display) -> io::Error {
    io::Error::other(format!("{setting} {}: {why}", file.display()))
}
