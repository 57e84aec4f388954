//! What every verb works with: flags, surroundings, output, and the way to the daemon.

use std::io::{IsTerminal as _, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anstream::{AutoStream, ColorChoice};
use anstyle::{AnsiColor, Style};
use jiff::SignedDuration;

use crate::cli::error::CliError;
use crate::cli::found::{FOUND_FRESH, WHICH, found_slurm};
use crate::cli::output::Output;
use crate::cli::text::{TerminalLines, one_line};
use crate::cli::{Color, Global};
use crate::daemon::StateDir;
use crate::domain::keys::Named;
use crate::domain::resolve::Asker;
use crate::domain::site::Site;
use crate::files::{LoadedSite, SitePaths, load_site};
use crate::ports::Clock;

/// What is told where a class may be missing only because Slurm did not name it.
pub(super) fn slurm_is_silent(why: &str) -> String {
    format!("Slurm was asked for its classes and cannot be reached: {why}")
}

/// Everything that was read from the process's surroundings, once, in main.
#[derive(Clone)]
pub struct Surroundings {
    pub asker: Asker,
    pub directory: PathBuf,
    /// Our own executable.
    pub program: PathBuf,
    pub host: String,
    /// Variables that the daemon and local jobs are given.
    pub environment: Vec<(String, String)>,
    /// Reads one more, for a site that keeps it for its Slurm commands.
    pub variable: fn(&str) -> Option<String>,
    /// `TRAINYARD_LOG`: what the daemon logs.
    pub log_filter: Option<String>,
    pub clock: Arc<dyn Clock>,
}

#[derive(Clone)]
pub(crate) struct Context {
    pub(super) global: Global,
    /// Only what went wrong is told, in one line: for cron, which mails whatever is said.
    pub(super) quiet: bool,
    pub(super) surroundings: Surroundings,
}

/// What pip and uv are told by variables, and how they reach an index.
const OF_BUILDS: &[&str] = &[
    "PIP_INDEX_URL",
    "PIP_EXTRA_INDEX_URL",
    "PIP_FIND_LINKS",
    "PIP_NO_INDEX",
    "PIP_CONFIG_FILE",
    "PIP_CERT",
    "PIP_CACHE_DIR",
    "PIP_DEFAULT_TIMEOUT",
    "UV_INDEX_URL",
    "UV_DEFAULT_INDEX",
    "UV_INDEX",
    "UV_FIND_LINKS",
    "UV_CONFIG_FILE",
    "UV_CACHE_DIR",
    "UV_SYSTEM_CERTS",
    "UV_NATIVE_TLS",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "REQUESTS_CA_BUNDLE",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
];

impl Context {
    pub(super) fn new(global: Global, quiet: bool, surroundings: Surroundings) -> Self {
        Self { global, quiet, surroundings }
    }

    pub(super) fn state_dir(&self) -> StateDir {
        let asked = self.global.state_dir.as_ref().map(|dir| self.surroundings.directory.join(dir));
        StateDir::new(
            asked.unwrap_or_else(|| self.surroundings.asker.home.join(".local/state/trainyard")),
        )
    }

    pub(super) fn socket(&self) -> PathBuf {
        let asked =
            self.global.socket.as_ref().map(|socket| self.surroundings.directory.join(socket));
        asked.unwrap_or_else(|| self.state_dir().socket())
    }

    /// The site file that was asked for, absolute.
    pub(super) fn site_asked(&self) -> Option<PathBuf> {
        self.global.site.as_ref().map(|site| self.surroundings.directory.join(site))
    }

    pub(super) fn site_paths(&self) -> SitePaths {
        SitePaths {
            system: Path::new("/etc/trainyard").to_owned(),
            asked: self.site_asked(),
            own: self.surroundings.asker.home.join(".config/trainyard/site.toml"),
        }
    }

    /// The site config; its problems are an error here.
    pub(super) fn site(&self) -> Result<LoadedSite, CliError> {
        self.site_found_within(FOUND_FRESH)
    }

    /// The site config; where a cluster is to be found for it, what was found longer ago than this is found anew.
    pub(super) fn site_found_within(&self, fresh: SignedDuration) -> Result<LoadedSite, CliError> {
        let loaded = self.site_with_problems(fresh)?;
        if loaded.problems.is_empty() {
            return Ok(loaded);
        }
        let error = CliError::invalid(loaded.problems, loaded.sources);
        Err(match loaded.silence {
            Some(why) => error.hint(slurm_is_silent(&why)),
            None => error,
        })
    }

    /// The site config as far as it can be read, with its problems.
    pub(super) fn site_with_problems(&self, fresh: SignedDuration) -> Result<LoadedSite, CliError> {
        let find = || found_slurm(self, fresh).into_sought();
        load_site(&self.site_paths(), find)
            .map_err(|error| CliError::new(crate::cli::Exit::Invalid, crate::chain(&error)))
    }

    /// What a build of an environment finds around it.
    pub(super) fn build_environment(&self) -> Vec<(String, String)> {
        let mut all = self.surroundings.environment.clone();
        let told = |name: &&str| Some(((*name).to_owned(), (self.surroundings.variable)(name)?));
        all.extend(OF_BUILDS.iter().filter_map(told));
        all
    }

    /// The daemon's own variables, with those that the site keeps for its Slurm commands and those that say which Slurm is
    /// meant where it does not.
    pub(super) fn daemon_environment(&self, site: &Site) -> Vec<(String, String)> {
        let mut all = self.surroundings.environment.clone();
        let clusters = site.cluster.iter().flat_map(Named::iter);
        let kept = clusters.flat_map(|(_, cluster)| cluster.keep_environment.iter().flatten());
        let whats = WHICH.iter().chain(OF_BUILDS).copied();
        for name in kept.map(|kept| kept.value.as_str()).chain(whats) {
            if !all.iter().any(|(known, _)| known == name)
                && let Some(value) = (self.surroundings.variable)(name)
            {
                all.push((name.to_owned(), value));
            }
        }
        all
    }

    pub(super) fn output(&self) -> Output {
        Output::new(self.choice(&std::io::stdout()))
    }

    fn choice(&self, stream: &impl anstream::stream::RawStream) -> ColorChoice {
        match self.global.color {
            Color::Always => ColorChoice::Always,
            Color::Never => ColorChoice::Never,
            Color::Auto => AutoStream::choice(stream),
        }
    }

    pub(super) fn stderr(&self) -> AutoStream<std::io::Stderr> {
        let stream = std::io::stderr();
        let choice = self.choice(&stream);
        AutoStream::new(stream, choice)
    }

    pub(super) fn stderr_has_colour(&self) -> bool {
        self.choice(&std::io::stderr()) != ColorChoice::Never
    }

    pub(super) fn is_terminal() -> bool {
        std::io::stderr().is_terminal()
    }

    /// One line of talk; text of others in it must be neutralised already.
    pub(super) fn say(&self, line: &str) {
        if !self.quiet {
            self.say_anyway(line);
        }
    }

    /// The same, of something that is told also to those who asked for quiet.
    pub(super) fn say_anyway(&self, line: &str) {
        // Nobody listens: there is nobody to tell.
        drop(writeln!(self.stderr(), "{line}"));
    }

    pub(super) fn error(&self, message: &str, hints: &[String]) {
        let error = Style::new().bold().fg_color(Some(AnsiColor::Red.into()));
        let hint = Style::new().bold().fg_color(Some(AnsiColor::Cyan.into()));
        if self.quiet {
            self.say_anyway(&format!("{error}error:{error:#} {}", one_line(message)));
            return;
        }
        self.say(&format!("{error}error:{error:#} {}", TerminalLines(message)));
        for text in hints {
            self.say(&format!("{hint}hint:{hint:#} {}", TerminalLines(text)));
        }
    }

    /// Something that is better mended, and stops nobody.
    pub(super) fn warn(&self, message: &str, hint: Option<&str>) {
        let bold = |colour: AnsiColor| Style::new().bold().fg_color(Some(colour.into()));
        let (warning, cyan) = (bold(AnsiColor::Yellow), bold(AnsiColor::Cyan));
        self.say(&format!("{warning}warning:{warning:#} {}", TerminalLines(message)));
        if let Some(text) = hint {
            self.say(&format!("{cyan}hint:{cyan:#} {}", TerminalLines(text)));
        }
    }

    /// Runs a client's conversation to its end.
    pub(super) fn block_on<T>(
        future: impl Future<Output = Result<T, CliError>>,
    ) -> Result<T, CliError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| CliError::internal(&error))?;
        runtime.block_on(future)
    }
}
