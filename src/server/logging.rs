//! The log: lines as Redis writes them, on standard output or into `logfile`.

use crate::config::{Config, LogLevel};
use std::fmt;
use std::io::{self, Write};
use std::sync::Mutex;
use tracing::level_filters::LevelFilter;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::{LookupSpan, Registry};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{fmt as layer, reload};

/// The log of the process, which can be made to say more or less.
pub struct Log(reload::Handle<LevelFilter, Registry>);

impl Log {
    pub fn set_level(&self, level: LogLevel) {
        // Fails only when the log is gone, with the process.
        let _ = self.0.modify(|filter| *filter = least(level));
    }
}

/// Starts the log, or says why the file cannot be written.
pub fn start(config: &Config) -> Result<Log, String> {
    let sink: Box<dyn Write + Send> = if config.logfile.is_empty() {
        Box::new(io::stdout())
    } else {
        let path = config.place(&config.logfile);
        let file = std::fs::OpenOptions::new().create(true).append(true).open(path);
        Box::new(file.map_err(|problem| {
            format!("The log file {} cannot be opened: {problem}", config.logfile)
        })?)
    };
    let (filter, handle) = reload::Layer::new(least(config.loglevel));
    let lines = layer::layer().event_format(RedisLines).with_writer(Mutex::new(Deaf(sink)));
    // A program that embeds the server may have a log of its own.
    let _ = tracing_subscriber::registry().with(filter).with(lines).try_init();
    Ok(Log(handle))
}

fn least(level: LogLevel) -> LevelFilter {
    match level {
        LogLevel::Debug => LevelFilter::TRACE,
        LogLevel::Verbose => LevelFilter::DEBUG,
        LogLevel::Notice => LevelFilter::INFO,
        LogLevel::Warning => LevelFilter::WARN,
        LogLevel::Nothing => LevelFilter::OFF,
    }
}
/// A closed standard output must not end the server.
struct Deaf(Box<dyn Write + Send>);

impl Write for Deaf {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let _ = self.0.write_all(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let _ = self.0.flush();
        Ok(())
    }
}

/// `pid:M 24 Nov 2026 15:04:05.678 * text`
struct RedisLines;

impl<S, N> FormatEvent<S, N> for RedisLines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut out: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mark = match *event.metadata().level() {
            Level::ERROR | Level::WARN => '#',
            Level::INFO => '*',
            Level::DEBUG => '-',
            Level::TRACE => '.',
        };
        let time = super::clock::utc_text(std::time::SystemTime::now());
        write!(out, "{}:M {time} {mark} ", std::process::id())?;
        context.field_format().format_fields(out.by_ref(), event)?;
        writeln!(out)
    }
}
