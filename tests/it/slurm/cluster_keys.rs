//! The keys of `[cluster.X]`, and what Slurm's commands find in their environment, with wrappers in front of the real
//! commands.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::env::wait_until;
use crate::slurm::cluster::{Cluster, job_of};

/// Notes that it was called, and with which environment, then becomes the real command. squeue shows nothing while
/// there is a file `blind`.
const WRAPPER: &str = r#"
tr '\0' '\n' </proc/$$/environ >HOME/NAME.environment
[[ NAME != squeue || ! -e HOME/blind ]] || exit 0
exec REAL "$@"
"#;

const COMMANDS: [&str; 5] = ["sbatch", "squeue", "sacct", "scancel", "scontrol"];

/// A cluster with these keys, and a wrapper for each command.
fn wrapped(keys: &str) -> Cluster {
    let paths: String = COMMANDS.map(|name| format!("{name} = 'HOME/{name}'\n")).concat();
    let cluster = Cluster::with(&format!("{paths}{keys}"));
    let home = cluster.env.home().display().to_string();
    for name in COMMANDS {
        let text = WRAPPER.replace("HOME", &home).replace("NAME", name);
        cluster.env.program(name, &text.replace("REAL", &cluster.path(name)));
    }
    cluster
}

/// Changes the site file, from which the world's next daemon starts.
fn change_site(cluster: &Cluster, from: &str, to: &str) {
    let path = cluster.env.home().join("site.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.contains(from), "{text}");
    std::fs::write(&path, text.replace(from, to)).unwrap();
}

/// The environment that a command was last given.
fn environment(cluster: &Cluster, name: &str) -> BTreeMap<String, String> {
    let path = cluster.env.home().join(format!("{name}.environment"));
    let text = std::fs::read_to_string(path).unwrap();
    let pairs = text.lines().filter_map(|line| line.split_once('='));
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// What a person's shell may hold: variables that change what Slurm's commands do or say, and others.
const HOSTILE: [&str; 16] = [
    "SBATCH_PARTITION",
    "SBATCH_HOLD",
    "SBATCH_NO_REQUEUE",
    "SBATCH_EXPORT",
    "SLURM_NTASKS",
    "SLURM_CLUSTERS",
    "SLURM_CONF",
    "SLURM_EXIT_ERROR",
    "SQUEUE_STATES",
    "SQUEUE_FORMAT2",
    "SACCT_FORMAT",
    "SCANCEL_VERBOSE",
    "BASH_ENV",
    "PYTHONPATH",
    "PASSWORD",
    "TRAINYARD_LOG",
];

#[test]
fn commands_find_what_the_site_keeps_and_nothing_else() {
    let cluster = wrapped("keep_environment = ['KRB5CCNAME', 'SITE_OWN', 'NOT_SET', 'HOME']\n");
    let spec = cluster.spec("quiet", "env >HOMEDIR/job.environment", "");
    let code = cluster.env.home().join("quiet-code/train.sh");
    let text = std::fs::read_to_string(&code).unwrap();
    let home = cluster.env.home().display().to_string();
    std::fs::write(&code, text.replace("HOMEDIR", &home)).unwrap();
    let mut submit = cluster.env.command();
    submit.env("KRB5CCNAME", "FILE:/tmp/ticket").env("SITE_OWN", "a b=c");
    for name in HOSTILE {
        submit.env(name, if name == "TRAINYARD_LOG" { "info" } else { "hostile" });
    }
    let said = crate::env::Said::of(submit.arg("submit").arg(&spec)).success();
    let run = said.stdout.trim().parse().unwrap();
    if cluster.has_accounting() {
        // So that accounting has to be asked.
        cluster.env.write("blind", "");
    }
    cluster.env.until(run, &["completed"]);
    let held = cluster.env.submit(&cluster.spec("held", "true", "class = 'held'"));
    std::fs::remove_file(cluster.env.home().join("blind")).ok();
    cluster.env.until(held, &["queued"]);
    drop(cluster.env.line(&format!("cancel {held}")).success());
    cluster.env.until(held, &["cancelled"]);

    let own = ["HOME", "LANG", "LOGNAME", "PATH", "SHELL", "SLURM_CONF", "USER"];
    let kept = ["KRB5CCNAME", "SITE_OWN"];
    let asking = ["LC_ALL", "TZ", "SLURM_TIME_FORMAT", "SLURM_BITSTR_LEN"];
    for name in COMMANDS {
        if name == "sacct" && !cluster.has_accounting() {
            let called = cluster.env.home().join("sacct.environment").exists();
            assert!(!called, "where there is no accounting it is not asked");
            continue;
        }
        let found = environment(&cluster, name);
        let more = if name == "sbatch" { &["SLURM_UMASK"][..] } else { &asking };
        let expected: BTreeSet<&str> =
            own.into_iter().chain(kept).chain(more.iter().copied()).collect();
        assert_eq!(found.keys().map(String::as_str).collect::<BTreeSet<_>>(), expected, "{name}");
        assert_eq!(
            (found["KRB5CCNAME"].as_str(), found["SITE_OWN"].as_str()),
            ("FILE:/tmp/ticket", "a b=c")
        );
        assert_ne!(found["SLURM_CONF"], "hostile");
    }
    let job = environment(&cluster, "job");
    assert_eq!(job["SITE_OWN"], "a b=c");
    for (name, value) in job {
        assert_ne!(value, "hostile", "{name}");
    }
}

#[test]
fn variables_that_are_kept_for_slurm_are_not_for_local_runs() {
    let cluster = wrapped("keep_environment = ['SITE_OWN']\n");
    let home = cluster.env.home().display().to_string();
    let script = format!("env >{home}/job.environment");
    let spec = cluster.spec("local", &script, "target = 'local'");
    let mut submit = cluster.env.command();
    submit.env("SITE_OWN", "kept").env("PASSWORD", "hostile");
    drop(crate::env::Said::of(submit.arg("submit").arg("--wait").arg(&spec)).success());
    let found = environment(&cluster, "job");
    assert_eq!((found.get("SITE_OWN"), found.get("PASSWORD")), (None, None));
}

#[test]
fn slurms_configuration_is_the_one_that_the_site_names() {
    let cluster = wrapped("");
    let conf = cluster.variable("SLURM_CONF");
    let (folder, name) = conf.rsplit_once('/').unwrap();
    let link = cluster.env.home().join("etc");
    std::os::unix::fs::symlink(folder, &link).unwrap();
    let ours = link.join(name).display().to_string();
    change_site(&cluster, &format!("conf = '{conf}'"), &format!("conf = '{ours}'"));
    let run = cluster.env.submit(&cluster.spec("conf", "true", ""));
    cluster.env.until(run, &["completed"]);
    assert_eq!(environment(&cluster, "sbatch")["SLURM_CONF"], ours);
    assert_eq!(environment(&cluster, "squeue")["SLURM_CONF"], ours);
}

#[test]
fn a_cluster_that_slurm_must_be_told_is_told() {
    let cluster = wrapped("slurm_cluster = 'test'\n");
    let compute = "nodes = 2\n[distributed]\nlauncher = 'srun'";
    let spec = cluster.spec("named", "true", compute);
    if !cluster.has_accounting() {
        // It is slurmdbd that knows where a cluster of that name is: such a site is wrong, and Slurm says why.
        let said = cluster.env.run([Path::new("submit"), &spec]).ended(8);
        assert!(said.stderr.contains("'test' can't be reached now"), "{said}");
        return;
    }
    let run = cluster.env.submit(&spec);
    let shown = cluster.env.until(run, &["completed", "failed"]);
    assert_eq!(shown["state"], "completed", "{shown:#}");
    assert_eq!(environment(&cluster, "squeue")["SLURM_CLUSTERS"], "test");
    let held = cluster.env.submit(&cluster.spec("held", "true", "class = 'held'"));
    cluster.env.until(held, &["queued"]);
    drop(cluster.env.line(&format!("cancel {held}")).success());
    cluster.env.until(held, &["cancelled"]);
}

/// What the script does with the keys, as the training sees it.
#[test]
fn keys_that_the_script_obeys() {
    let keys = "node_address = '{node}.fabric'\nrendezvous_ports = [23450, 23459]\n\
                srun_args = ['--task-prolog=HOME/task-prolog', '--input=none']\n\
                [cluster.test.script]\nprologue = 'export OF_CLUSTER=\"a b\"; module() { LOADEDMODULES+=:$2; export LOADEDMODULES MODULES_CMD=x; }'\n\
                epilogue = 'echo over >HOME/epilogue'\ndirectives = ['--comment=of-cluster']\n\
                [class.all]\ncluster = 'test'\ndefault_time = '5m'\npartition = 'main'\n\
                modules = ['cuda/12.4']\nprologue = 'export OF_CLASS=$OF_CLUSTER:class'\n\
                environment = { OF_TABLE = 'table', OVER = 'class' }\n\
                local_scratch = 'HOME/scratch.$SLURM_JOB_ID'\nsrun_args = ['--task-epilog=HOME/task-epilog']\n";
    let cluster = Cluster::with(keys);
    let home = cluster.env.home().display().to_string();
    for (name, text) in [
        ("task-prolog", "echo export OF_SRUN=prolog".to_owned()),
        ("task-epilog", format!("echo over >{home}/task-epilogue")),
    ] {
        cluster.env.program(name, &format!("{text}\n"));
    }
    let script = "for name in OF_CLUSTER OF_CLASS OF_TABLE OVER OF_SRUN LOADEDMODULES MASTER_ADDR MASTER_PORT \
                  TRAINYARD_LOCAL_SCRATCH; do echo \"$name=${!name-}\"; done; ls -d \"$TRAINYARD_LOCAL_SCRATCH\"";
    let compute =
        "class = 'all'\n[environment.variables]\nOVER = 'spec'\n[distributed]\nlauncher = 'srun'";
    let run = cluster.env.submit(&cluster.spec("obeys", script, compute));
    let shown = cluster.env.until(run, &["completed", "failed"]);
    assert_eq!(shown["state"], "completed", "{shown:#}");
    let job = job_of(&shown);
    let node = shown["attempts"][0]["nodes"][0].as_str().unwrap();
    let log = std::fs::read_to_string(cluster.env.run_dir(run).join("logs/1.out")).unwrap();
    let scratch = format!("{home}/scratch.{job}");
    for expected in [
        "OF_CLUSTER=a b".to_owned(),
        "OF_CLASS=a b:class".to_owned(),
        "OF_TABLE=table".to_owned(),
        "OVER=spec".to_owned(),
        "OF_SRUN=prolog".to_owned(),
        "LOADEDMODULES=:cuda/12.4".to_owned(),
        format!("MASTER_ADDR={node}.fabric"),
        format!("MASTER_PORT={}", 23450 + job % 10),
        format!("TRAINYARD_LOCAL_SCRATCH={scratch}"),
        format!("0: {scratch}"),
    ] {
        assert!(log.contains(&expected), "no {expected} in\n{log}");
    }
    let record = cluster.ask("scontrol", &["show", "job", "-o", &job.to_string()]);
    assert!(record.contains(" Comment=of-cluster "), "{record}");
    wait_until("srun's own epilogue has run", || cluster.env.home().join("task-epilogue").exists());
    assert_eq!(std::fs::read_to_string(cluster.env.home().join("epilogue")).unwrap(), "over\n");
}
