//! The Slurm that no site file describes: asked about itself now and then, and remembered in the state directory, where
//! every command and the daemon read the same.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::cli::context::Context;
use crate::domain::resolve::Asker;
use crate::files::{FoundSite, Sought, durable};
use crate::hands::InProcess;
use crate::ports::{Hands, Silence};
use crate::slurm::found::{WhichSlurm, find};

/// For how long a command believes what was found.
pub(super) const FOUND_FRESH: SignedDuration = SignedDuration::from_hours(1);

/// The same for a daemon that starts; the command that starts it has just looked.
pub(super) const FOUND_FRESH_AT_START: SignedDuration = SignedDuration::from_mins(1);

/// For how long a Slurm that gave no answer is left alone: commands do not wait for it each time.
const SILENCE_FRESH: SignedDuration = SignedDuration::from_mins(10);

/// What was found, and when it was looked for the last time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Record {
    looked_at: Timestamp,
    /// A state directory may be seen by several machines, and the same path may be another Slurm on each: each has a
    /// file of its own.
    host: String,
    which: WhichSlurm,
    /// Why the last look found nothing. Neither this nor a site: the commands are there, and no Slurm that they know of.
    silence: Option<String>,
    /// The text of a site file.
    site: Option<String>,
}

/// The Slurm of this machine, as far as it is known; `None` when there is none.
#[derive(Debug)]
pub(super) struct FoundSlurm(Option<Record>);

/// Looks for a Slurm on PATH, or remembers what was found less than `fresh` ago.
pub(super) fn found_slurm(context: &Context, fresh: SignedDuration) -> FoundSlurm {
    let host = &context.surroundings.host;
    let known = read(&record_of(context)).filter(|record| record.host == *host);
    // cron has a short PATH: a Slurm that was there a moment ago is still there.
    let last = known.as_ref().filter(|record| record.is_still_there());
    let Some(which) = on_path(context).or_else(|| last.map(|record| record.which.clone())) else {
        return FoundSlurm(None);
    };
    let now = context.surroundings.clock.now();
    if let Some(record) = &known
        && !record.is_due(&which, now, fresh)
    {
        return FoundSlurm(known);
    }
    let before = known.filter(|record| record.which == which).and_then(|record| record.site);
    let (site, silence) = match look(context, &which) {
        Ok(text) => (Some(text), None),
        Err(why) if before.is_none() && is_unconfigured(&which, &why) => (None, None),
        // What the same Slurm said before is worth more than nothing.
        Err(why) => (before, Some(why)),
    };
    let record = Record { looked_at: now, host: host.clone(), which, silence, site };
    remember(context, &record);
    FoundSlurm(Some(record))
}

impl Record {
    fn is_due(&self, which: &WhichSlurm, now: Timestamp, fresh: SignedDuration) -> bool {
        let fresh = match (&self.silence, &self.site) {
            (Some(_), _) => SILENCE_FRESH,
            // Whoever configures it does not wait for long.
            (None, None) => fresh.min(SILENCE_FRESH),
            (None, Some(_)) => fresh,
        };
        let age = now.duration_since(self.looked_at);
        // Of the future: the machine's clock was set back.
        self.which != *which || age.is_negative() || age >= fresh
    }

    fn is_of_none(&self) -> bool {
        self.silence.is_none() && self.site.is_none()
    }

    fn is_still_there(&self) -> bool {
        !self.is_of_none() && Path::new(&self.which.directory).join("sinfo").is_file()
    }
}

impl FoundSlurm {
    pub(super) fn into_sought(self) -> Sought {
        let silence = if self.is_absent() { None } else { self.trouble() };
        let site = self.0.and_then(|Record { which, site, .. }| {
            Some(FoundSite { name: format!("found: Slurm at {}", which.directory), text: site? })
        });
        Sought { site, silence }
    }

    /// Whether this machine has none at all.
    pub(super) fn is_absent(&self) -> bool {
        self.0.as_ref().is_none_or(Record::is_of_none)
    }

    /// Why there is none, or why nothing newer is known.
    pub(super) fn trouble(&self) -> Option<String> {
        let Some(record) = &self.0 else { return Some("no Slurm is on PATH".to_owned()) };
        if record.is_of_none() {
            return Some("the Slurm commands on PATH know of no Slurm".to_owned());
        }
        let silence = record.silence.as_ref()?;
        let kept = record.site.as_ref().map_or("", |_| "; what it said before is in force");
        Some(format!("{silence}{kept}"))
    }
}

/// Variables that say which Slurm is meant. They count only where no site file describes a cluster.
const CONF: &str = "SLURM_CONF";
const CLUSTERS: &str = "SLURM_CLUSTERS";

/// Those variables, for a daemon that must find the same Slurm.
pub(super) const WHICH: [&str; 2] = [CONF, CLUSTERS];

/// Which Slurm the user's shell would speak to.
pub(super) fn on_path(context: &Context) -> Option<WhichSlurm> {
    let surroundings = &context.surroundings;
    let own = |name: &str| (surroundings.variable)(name).filter(|value| !value.is_empty());
    // The commands run somewhere else.
    let conf = own(CONF).map(|conf| surroundings.directory.join(conf).display().to_string());
    WhichSlurm::on_path(&own("PATH")?, conf, own(CLUSTERS))
}

/// What the commands say where they are installed and nobody has configured them. Who names a configuration means a Slurm.
fn is_unconfigured(which: &WhichSlurm, why: &str) -> bool {
    const WORDS: [&str; 3] = [
        "Could not establish a configuration source",
        "Unable to process configuration file",
        "slurm.conf: No such file or directory",
    ];
    which.conf.is_none() && WORDS.iter().any(|words| why.contains(words))
}

fn look(context: &Context, which: &WhichSlurm) -> Result<String, String> {
    ask(context, |hands, asker| find(hands, which, asker))
}

/// Asks Slurm. Whoever needs the site may be inside a runtime already, and there cannot be one within another: so a
/// thread of its own asks.
pub(super) fn ask<'a, T: Send, F: Future<Output = Result<T, Silence>>>(
    context: &'a Context,
    question: impl FnOnce(Arc<dyn Hands>, &'a Asker) -> F + Send,
) -> Result<T, String> {
    let asker = &context.surroundings.asker;
    let ask = || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| error.to_string())?;
        let hands = Arc::new(InProcess::new(runtime.handle().clone()));
        let found = runtime.block_on(question(hands, asker));
        found.map_err(|silence| silence.to_string().lines().collect::<Vec<_>>().join("; "))
    };
    let asked = std::thread::scope(|scope| scope.spawn(ask).join());
    asked.unwrap_or_else(|_| Err("looking for it failed".to_owned()))
}

/// Where this machine keeps what it found.
fn record_of(context: &Context) -> PathBuf {
    let plain = |c: char| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '-' };
    let host: String = context.surroundings.host.chars().map(plain).collect();
    context.state_dir().found_sites().join(format!("{host}.json"))
}

/// One that cannot be read, as of another version of this program, is none.
fn read(path: &Path) -> Option<Record> {
    serde_json::from_slice(&std::fs::read(path).ok()?).ok()
}

/// Where nothing can be kept, as in a full state directory, each command looks for itself.
fn remember(context: &Context, record: &Record) {
    let dir = context.state_dir();
    let Ok(bytes) = serde_json::to_vec_pretty(record) else { return };
    if dir.prepare(context.surroundings.asker.uid).is_ok()
        && std::fs::create_dir_all(dir.found_sites()).is_ok()
    {
        durable::write(&record_of(context), &bytes, 0o600).ok();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(silence: Option<&str>, site: Option<&str>) -> Record {
        let text = r#"{"directory": "/nowhere", "elsewhere": {}, "conf": null, "clusters": null}"#;
        Record {
            looked_at: Timestamp::from_second(1_000_000).unwrap(),
            host: "login1".into(),
            which: serde_json::from_str(text).unwrap(),
            silence: silence.map(str::to_owned),
            site: site.map(str::to_owned),
        }
    }

    #[test]
    fn a_look_is_due_when_the_last_is_old_or_of_another_slurm() {
        let check = |silence, minutes: i64, fresh: SignedDuration, due| {
            let record = record(silence, Some("x"));
            let now = record.looked_at + SignedDuration::from_mins(minutes);
            assert_eq!(record.is_due(&record.which, now, fresh), due, "{silence:?} {minutes}");
        };
        check(None, 0, FOUND_FRESH, false);
        check(None, 59, FOUND_FRESH, false);
        check(None, 60, FOUND_FRESH, true);
        check(None, -1, FOUND_FRESH, true);
        check(None, 0, FOUND_FRESH_AT_START, false);
        check(None, 2, FOUND_FRESH_AT_START, true);
        // Not even a daemon that starts asks one again that gave no answer.
        check(Some("down"), 9, FOUND_FRESH_AT_START, false);
        check(Some("down"), 10, FOUND_FRESH, true);
        let record = record(None, None);
        let minutes = |minutes| record.looked_at + SignedDuration::from_mins(minutes);
        assert!(!record.is_due(&record.which, minutes(9), FOUND_FRESH));
        assert!(record.is_due(&record.which, minutes(10), FOUND_FRESH));
        assert!(record.is_due(&record.which, minutes(1), FOUND_FRESH_AT_START));
        let other = WhichSlurm { conf: Some("/etc/other.conf".into()), ..record.which.clone() };
        assert!(record.is_due(&other, record.looked_at, FOUND_FRESH));
    }

    #[test]
    fn commands_that_nobody_configured_are_no_slurm() {
        let which = record(None, None).which;
        let asked_for = WhichSlurm { conf: Some("/etc/slurm.conf".into()), ..which.clone() };
        let check = |why: &str, unconfigured: bool| {
            assert_eq!(is_unconfigured(&which, why), unconfigured, "{why}");
            assert!(!is_unconfigured(&asked_for, why), "{why}");
        };
        check("scontrol: fatal: Could not establish a configuration source", true);
        check("scontrol: fatal: Unable to process configuration file", true);
        check("cannot stat file /etc/slurm/slurm.conf: No such file or directory", true);
        check("Unable to contact slurm controller (connect failure)", false);
        check("/usr/bin/scontrol: it did not end within 5 s and was killed", false);
    }

    #[test]
    fn what_is_known_is_told() {
        let told = |found: FoundSlurm| {
            let (is_absent, trouble) = (found.is_absent(), found.trouble());
            let Sought { site, silence } = found.into_sought();
            assert_eq!(silence, trouble.clone().filter(|_| !is_absent));
            (trouble, site.map(|site| site.text))
        };
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(told(FoundSlurm(None)), (text("no Slurm is on PATH"), None));
        assert_eq!(told(FoundSlurm(Some(record(None, Some("x"))))), (None, text("x")));
        let kept = FoundSlurm(Some(record(Some("down"), Some("x"))));
        assert_eq!(told(kept), (text("down; what it said before is in force"), text("x")));
        assert_eq!(told(FoundSlurm(Some(record(Some("down"), None)))), (text("down"), None));
        let none = FoundSlurm(Some(record(None, None)));
        assert!(none.is_absent());
        assert_eq!(told(none), (text("the Slurm commands on PATH know of no Slurm"), None));
        assert!(!record(None, Some("x")).is_still_there());
    }
}
