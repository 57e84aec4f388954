//! The record of what a run really got: whole where all goes well, and never in the way.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use trainyard::domain::environment::{EnvironmentRecord, GpuRecord};
use trainyard::domain::resolved::Program;

use super::world::{World, wait_until, word};

const SMI: &str = "case $* in *query*) echo 'NVIDIA A100, PCIe, 40960, 550.54, GPU-1' ;; \
    *) echo '| Driver Version: 550.54 CUDA Version: 12.4 |' ;; esac";

fn record(world: &World) -> EnvironmentRecord {
    let bytes = fs::read(world.in_run("environment/1.txt")).unwrap_or_default();
    EnvironmentRecord::parse(&bytes)
}

#[test]
fn what_a_run_got_is_told() {
    let mut world = World::new("exit 0");
    world.install("nvidia-smi", SMI);
    world
        .install("nvcc", "echo nvcc: NVIDIA; echo 'Cuda compilation tools, release 12.3, V12.3.1'");
    world.write("libraries/libnccl.so.2.19.3", "");
    let libraries = world.path("libraries").display().to_string();
    world.spec.environment.variables = vec![("LD_LIBRARY_PATH".into(), word(&libraries))];
    world.set("LOADEDMODULES", "gcc/12:it's \"odd\"\tpython\t2.7:*");
    world.write("conda/conda-meta/ca-certificates-2024.2.2-hbcca054_0.json", "{}");
    world.set("CONDA_PREFIX", &world.path("conda").display().to_string());
    assert_eq!(world.run().code, Some(0));
    let record = record(&world);
    assert!(record.complete, "{record:?}");
    let known = [&record.host, &record.kernel, &record.machine, &record.glibc, &record.cpu];
    assert!(known.iter().all(|known| known.is_some()), "{record:?}");
    assert!(record.memory_bytes > Some(1 << 20) && record.cpus_usable > Some(0), "{record:?}");
    assert_eq!(record.modules, ["gcc/12", "it's \"odd\" python 2.7", "*"]);
    let told = [&record.cuda_toolkit, &record.cuda_driver, &record.nccl];
    assert_eq!(told.map(Option::as_deref), [Some("12.3"), Some("12.4"), Some("2.19.3")]);
    let gpu = GpuRecord {
        name: "NVIDIA A100, PCIe".into(),
        memory_mib: Some(40960),
        driver: "550.54".into(),
        uuid: "GPU-1".into(),
    };
    assert_eq!(record.gpus, [gpu]);
    let conda = &record.conda_packages[0];
    assert_eq!((conda.name.as_str(), conda.version.as_str()), ("ca-certificates", "2024.2.2"));
    let left: Vec<_> = fs::read_dir(world.in_run("environment")).unwrap().collect();
    assert_eq!(left.len(), 1, "{left:?}");
}

#[test]
fn packages_are_told_whatever_their_names() {
    let mut world = World::new("");
    world.spec.code.program = Program::Command(vec![word("python3"), word("-c"), word("print(1)")]);
    for name in [
        "good-1.0.dist-info",
        "old_egg-2.1-py3.9.egg-info",
        "a\nhost\tforged-1.dist-info",
        "it's-$(id)-3.dist-info",
        "no_version.dist-info",
        "not_one.txt",
    ] {
        fs::create_dir_all(world.path("site").join(name)).unwrap();
    }
    let source =
        "{\"url\": \"https://me:pw@git.example/x\", \"vcs_info\": {\"commit_id\": \"ab12\"}}";
    world.write("site/good-1.0.dist-info/direct_url.json", source);
    // Python takes what it finds first.
    fs::create_dir_all(world.path("later/Good-0.9.egg-info")).unwrap();
    let site = [world.path("site"), world.path("later")].map(|site| site.display().to_string());
    let site = site.join(":");
    world.spec.environment.variables = vec![("PYTHONPATH".into(), word(&site))];
    assert_eq!(world.run().code, Some(0));
    let record = record(&world);
    assert!(record.complete && record.python.is_some(), "{record:?}");
    let host = nix::unistd::gethostname().unwrap().into_string().unwrap();
    assert_eq!(record.host, Some(host));
    let of = |name: &str| {
        let mut found = record.packages.iter().filter(|package| package.name == name);
        let one = found.next().unwrap_or_else(|| panic!("{name}: {record:?}"));
        assert_eq!(found.next(), None, "{name}");
        (one.version.as_str(), one.source.as_deref())
    };
    assert_eq!(of("good"), ("1.0", Some("https://git.example/x@ab12")));
    assert_eq!(of("old_egg"), ("2.1", None));
    assert_eq!(of("a host forged"), ("1", None));
    assert_eq!(of("it's"), ("$(id)", None));
    assert_eq!(of("no_version"), ("", None));
    assert!(!record.packages.iter().any(|package| package.name.contains("not_one")));
}

#[test]
fn what_hangs_costs_nothing_and_is_ended_with_the_script() {
    let world = World::new("echo ready; exec sleep 1000");
    let pid_file = world.path("smi.pid");
    // It does not listen to SIGTERM, as one that waits for a broken card.
    let smi = format!("trap '' TERM; echo $$ >{}; while :; do sleep 0.1; done", pid_file.display());
    world.install("nvidia-smi", &smi);
    let child = world.start();
    wait_until(|| fs::read_to_string(&pid_file).is_ok_and(|text| text.ends_with('\n')));
    wait_until(|| record(&world).host.is_some());
    assert!(world.log().contains("ready") || !world.log().contains("error"));
    nix::sys::signal::kill(
        nix::unistd::Pid::from_raw(child.id().try_into().unwrap()),
        Signal::SIGTERM,
    )
    .unwrap();
    let told = Instant::now();
    child.wait_with_output().unwrap();
    assert!(told.elapsed() < Duration::from_secs(4), "the end waited for it");
    assert!(!record(&world).complete && record(&world).python.is_some());
    let pid = fs::read_to_string(&pid_file).unwrap();
    wait_until(|| !fs::exists(format!("/proc/{}", pid.trim())).unwrap());
}

#[test]
fn a_record_that_cannot_be_made_is_no_fault_of_the_run() {
    let world = World::new("echo trained");
    world.write("runs/42-demo/environment", "a file");
    assert_eq!(world.run().code, Some(0));
    assert_eq!(world.log(), "trained\n");

    // No Python, no tools: what is left is told.
    let mut world = World::new("echo trained");
    world.install("python", "kill -9 $$");
    world.install("getconf", "exit 1");
    fs::create_dir_all(world.in_run("environment")).unwrap();
    assert_eq!(world.run().code, Some(0));
    assert!(record(&world).complete && record(&world).python.is_none());
    world.job_name = world.job_name.replace(".1.", ".2.");
    fs::set_permissions(world.in_run("environment"), fs::Permissions::from_mode(0o500)).unwrap();
    assert_eq!(world.run().code, Some(0));
}
