//! The page's own files, which are the same for everybody: they are part of the program.

/// A file, as it is asked for below `/_toril/app/`.
pub struct AppFile {
    pub name: &'static str,
    pub media_type: &'static str,
    pub bytes: &'static [u8],
}

macro_rules! file {
    ($name:literal, $media_type:expr) => {
        AppFile { name: $name, media_type: $media_type, bytes: include_bytes!($name) }
    };
}

const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";

pub const FILES: &[AppFile] = &[
    file!("act.js", SCRIPT),
    file!("app.css", STYLE),
    file!("events.js", SCRIPT),
    file!("keys.js", SCRIPT),
    file!("main.js", SCRIPT),
    file!("place.js", SCRIPT),
    file!("press.js", SCRIPT),
    file!("search.js", SCRIPT),
    file!("session.js", SCRIPT),
    file!("time.js", SCRIPT),
];

/// The page itself.
pub const INDEX: AppFile = file!("index.html", "text/html; charset=utf-8");

#[cfg(test)]
mod tests {
    use super::*;

    /// What a browser fetches once: the page is there at once, and the program stays small.
    #[test]
    fn all_of_them_together_are_60_kilobytes_at_most() {
        let files = FILES.iter().map(|file| file.bytes.len()).sum::<usize>() + INDEX.bytes.len();
        assert!(files <= 60 * 1024, "{files} bytes");
    }
}
