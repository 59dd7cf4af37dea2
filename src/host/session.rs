//! A connection to a server that waits for each answer.

use crate::remote::{Response, read};
use std::io::{self, BufReader, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

/// An open connection.
pub struct Session {
    stream: BufReader<TcpStream>,
}

impl Session {
    /// Connects; nothing takes longer than `patience`, here and later.
    pub fn open(host: &str, port: u16, patience: Duration) -> io::Result<Self> {
        let mut problem = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
        for address in (host, port).to_socket_addrs()? {
            match TcpStream::connect_timeout(&address, patience) {
                Ok(stream) => {
                    stream.set_nodelay(true)?;
                    let this = Self { stream: BufReader::new(stream) };
                    this.be_patient(patience)?;
                    return Ok(this);
                }
                Err(other) => problem = other,
            }
        }
        Err(problem)
    }

    /// Waits so long for what follows.
    pub fn be_patient(&self, patience: Duration) -> io::Result<()> {
        self.stream.get_ref().set_read_timeout(Some(patience))?;
        self.stream.get_ref().set_write_timeout(Some(patience))
    }

    /// Sends a command, and waits for its answer.
    pub fn ask<W: AsRef<[u8]>>(&mut self, words: &[W]) -> io::Result<Response> {
        let mut request = format!("*{}\r\n", words.len()).into_bytes();
        for word in words.iter().map(AsRef::as_ref) {
            request.extend(format!("${}\r\n", word.len()).bytes());
            request.extend(word);
            request.extend(b"\r\n");
        }
        self.stream.get_mut().write_all(&request)?;
        read(&mut self.stream)
    }
}
