//! What `scontrol show config` says about a cluster, as far as it matters here. Asked at the start and after trouble.

use jiff::Timestamp;

use crate::domain::units::Seconds;
use crate::ports::ArrayLimits;
use crate::slurm::fields;

/// A cluster's own settings. What is not said, or said in words nobody knows, has Slurm's default.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterConfig {
    /// Slurm's own name of it, in every record; `None` when it does not say.
    pub cluster_name: Option<String>,
    /// Year and month: `(22, 5)`.
    pub version: Option<(u32, u32)>,
    /// How long a finished job is remembered without accounting; `None` for ever.
    pub min_job_age: Option<Seconds>,
    pub kill_wait: Seconds,
    /// `None` without limit.
    pub over_time_limit: Option<Seconds>,
    pub message_timeout: Seconds,
    /// Indices of a job array: 0 to one less.
    pub max_array_size: u64,
    /// Tasks of a job array, where that is limited as well.
    pub max_array_tasks: Option<u64>,
    pub has_accounting: bool,
    /// What accounting refuses jobs for: `associations`, `limits`, `qos`.
    pub enforced: Vec<String>,
    /// Whether a job has to fit all partitions that it names, and not one of them.
    pub enforces_every_partition: bool,
    /// How often it adds up what running jobs use of their accounts' limits; `None` where nobody adds that up.
    pub use_counted_every: Option<Seconds>,
    pub job_comp_type: Option<String>,
    /// What users cannot see of others.
    pub private_data: Vec<String>,
    /// Whether jobs are requeued that say nothing about it.
    pub job_requeue: bool,
    /// When slurmctld was started, by its own clock.
    pub booted_at: Option<Timestamp>,
}

impl Default for ClusterConfig {
    fn default() -> Self {
        Self {
            cluster_name: None,
            version: None,
            min_job_age: Some(Seconds(300)),
            kill_wait: Seconds(30),
            over_time_limit: Some(Seconds(0)),
            message_timeout: Seconds(10),
            max_array_size: 1001,
            max_array_tasks: None,
            has_accounting: false,
            enforced: Vec::new(),
            enforces_every_partition: false,
            use_counted_every: None,
            job_comp_type: None,
            private_data: Vec::new(),
            job_requeue: true,
            booted_at: None,
        }
    }
}

impl ClusterConfig {
    /// How long a job may be absent from good answers before that is news.
    pub fn absent_grace(&self) -> Seconds {
        const LEAST: Seconds = Seconds(15 * 60);
        let age = self.min_job_age;
        age.map_or(LEAST, |age| LEAST.max(Seconds(age.0.saturating_mul(3))))
    }

    /// What job arrays may have. Where they may have nothing there are none.
    pub fn arrays(&self) -> Option<ArrayLimits> {
        let number = |limit: u64| u32::try_from(limit).unwrap_or(u32::MAX);
        let (size, tasks) = (self.max_array_size, self.max_array_tasks.unwrap_or(u64::MAX));
        let limits = ArrayLimits { size: number(size), tasks: number(tasks.min(size)) };
        (limits.size > 1 && limits.tasks > 0).then_some(limits)
    }

    /// How long beyond its time limit a job may run. Where no limit ends it there is nothing that could be said.
    pub fn ends_late_by(&self) -> Seconds {
        let over = self.over_time_limit.unwrap_or_default();
        Seconds(over.0.saturating_add(self.kill_wait.0))
    }
}

pub fn args() -> Vec<String> {
    ["show", "config"].map(str::to_owned).into()
}

/// Reads `Key = value` lines, which Slurm sorts. Gives `None` for what is no such list, or is none to its end: a default
/// in place of what was cut off would say that there is no accounting.
pub fn parse(text: &str) -> Option<ClusterConfig> {
    let mut config = ClusterConfig::default();
    let (mut begins, mut ends) = (false, false);
    for (key, value) in text.lines().filter_map(|line| line.split_once('=')) {
        let (key, value) = (key.trim(), value.trim());
        begins |= key == "AccountingStorageType";
        ends |= key == "SLURM_VERSION";
        take(&mut config, key, value);
    }
    (begins && ends).then_some(config)
}

fn take(config: &mut ClusterConfig, key: &str, value: &str) {
    let word = Some(value).filter(|value| !matches!(*value, "" | "(null)" | "none" | "N/A"));
    // `300 sec`, `0 min`.
    let number = value.split_whitespace().next().and_then(|number| number.parse::<u64>().ok());
    let seconds = |default: Seconds| number.map_or(default, Seconds);
    match key {
        "ClusterName" => config.cluster_name = word.map(str::to_owned),
        "SLURM_VERSION" => config.version = version(value),
        // Zero switches the forgetting off.
        "MinJobAge" => {
            config.min_job_age =
                number.map_or(Some(Seconds(300)), |age| (age > 0).then_some(Seconds(age)));
        }
        "KillWait" => config.kill_wait = seconds(config.kill_wait),
        "MessageTimeout" => config.message_timeout = seconds(config.message_timeout),
        "SchedulerParameters" => config.max_array_tasks = array_tasks(value),
        "MaxArraySize" => config.max_array_size = number.unwrap_or(config.max_array_size),
        "OverTimeLimit" => {
            config.over_time_limit = number.map(|minutes| Seconds(minutes.saturating_mul(60)));
        }
        "AccountingStorageType" => {
            config.has_accounting = word.is_some_and(|kind| !kind.ends_with("/none"));
        }
        "JobCompType" => {
            config.job_comp_type = word.filter(|kind| !kind.ends_with("/none")).map(str::to_owned);
        }
        "AccountingStorageEnforce" => config.enforced = listed(word),
        "EnforcePartLimits" => config.enforces_every_partition = value == "ALL",
        "PriorityCalcPeriod" => config.use_counted_every = fields::limit(value).map(Seconds),
        // It comes after the period.
        "PriorityType" => {
            let every = config.use_counted_every.unwrap_or(Seconds(300));
            config.use_counted_every = value.ends_with("/multifactor").then_some(every);
        }
        "PrivateData" => config.private_data = listed(word),
        "BOOT_TIME" => config.booted_at = fields::time(value),
        "JobRequeue" => config.job_requeue = number != Some(0),
        _ => {}
    }
}

fn array_tasks(parameters: &str) -> Option<u64> {
    let mut words = parameters.split(',');
    words.find_map(|word| word.trim().strip_prefix("max_array_tasks=")?.parse().ok())
}

fn listed(words: Option<&str>) -> Vec<String> {
    words.iter().flat_map(|words| words.split(',')).map(|word| word.trim().to_owned()).collect()
}

/// `22.05.8` as `(22, 5)`.
pub(super) fn version(text: &str) -> Option<(u32, u32)> {
    let mut parts = text.split('.');
    let year = parts.next()?.parse().ok()?;
    Some((year, parts.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lines as Slurm 22.05 prints them.
    const TEXT: &str = "Configuration data as of 1795239189
AccountingStorageType   = accounting_storage/none
BOOT_TIME               = 1795239000
ClusterName             = priv
JobCompType             = jobcomp/none
JobRequeue              = 1
KillWait                = 5 sec
MaxArraySize            = 1001
MessageTimeout          = 10 sec
MinJobAge               = 30 sec
OverTimeLimit           = 0 min
PrivateData             = none
SLURM_VERSION           = 22.05.8
SlurmctldHost[0]        = vm(127.0.0.1)

Slurmctld(primary) at vm is UP
";

    #[test]
    fn what_a_cluster_says_about_itself() {
        let expected = ClusterConfig {
            cluster_name: Some("priv".into()),
            version: Some((22, 5)),
            min_job_age: Some(Seconds(30)),
            kill_wait: Seconds(5),
            booted_at: Timestamp::from_second(1_795_239_000).ok(),
            ..ClusterConfig::default()
        };
        assert_eq!(parse(TEXT), Some(expected));
    }

    #[test]
    fn other_values_and_rubbish() {
        let text = "AccountingStorageType = accounting_storage/slurmdbd\nMinJobAge = 0 sec\n\
                    OverTimeLimit = UNLIMITED\nPrivateData = jobs, usage\nJobRequeue = 0\n\
                    JobCompType = jobcomp/filetxt\nAccountingStorageEnforce = associations,limits\nKillWait = soon\nEnforcePartLimits = ALL\nSLURM_VERSION = 26\n";
        let config = parse(text).unwrap();
        assert!(config.has_accounting && !config.job_requeue && config.enforces_every_partition);
        assert_eq!(
            (config.min_job_age, config.over_time_limit, config.version),
            (None, None, None)
        );
        assert_eq!(config.private_data, ["jobs", "usage"]);
        assert_eq!(config.enforced, ["associations", "limits"]);
        assert_eq!(config.job_comp_type.as_deref(), Some("jobcomp/filetxt"));
        assert_eq!(config.kill_wait, Seconds(30));
        for nothing in ["", "no such list", "a = b"] {
            assert_eq!(parse(nothing), None, "{nothing}");
        }
        let cut = |at: &str| TEXT.split_once(at).unwrap();
        assert_eq!(parse(cut("SLURM_VERSION").0), None, "its end is missing");
        assert_eq!(parse(cut("ClusterName").1), None, "its beginning is missing");
    }
}
