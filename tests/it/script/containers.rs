//! Containers, by stand-ins that take the documented options and no others, tell them, and run the command.
//!
//! The options of `apptainer exec` are those of <https://apptainer.org/docs/user/latest/cli/apptainer_exec.html> (and
//! apptainer-exec(1)), which singularity shares; those of Pyxis are in <https://github.com/NVIDIA/pyxis/wiki/Usage>.
//! Charliecloud is there for real: `crate::slurm::containers`.

use std::fs;

use trainyard::domain::environment::EnvironmentRecord;
use trainyard::domain::resolved::{Container, Gpus, Program};
use trainyard::domain::site::ContainerRuntime;
use trainyard::domain::spec::Launcher;

use super::world::{World, launched, on_slurm, word};

/// `apptainer exec`, of whose options those that run a container as we do are known.
const APPTAINER: &str = r#"
fail() { echo "stand-in: $*" >&2; exit 64; }
[[ $1 == exec ]] || fail "command $1"
shift
while [[ ${1:-} == -* ]]; do
  case $1 in
    --nv | --rocm | --cleanenv) said+=" $1" ;;
    --bind)
      [[ $2 =~ ^(/[^:,]*)(:/[^:,]*(:(ro|rw))?)?$ ]] || fail "bind $2"
      [[ -e ${BASH_REMATCH[1]} ]] || fail "mount source ${BASH_REMATCH[1]} doesn't exist"
      said+=" $1 $2"
      shift
      ;;
    --pwd)
      [[ $2 == /* ]] || fail "pwd $2"
      directory=$2 said+=" $1 $2"
      shift
      ;;
    *) fail "unknown flag: $1" ;;
  esac
  shift
done
[[ -e $1 || $1 == docker://* ]] || fail "no image $1"
echo "${0##*/}$said $1"
shift
(($# > 0)) || fail "no command"
cd -- "$directory" && CONTAINED=yes exec "$@""#;

/// srun with Pyxis.
const SRUN: &str = r#"
fail() { echo "srun: error: stand-in: $*" >&2; exit 255; }
while [[ ${1:-} == -* ]]; do
  value=${1#*=}
  case $1 in
    --nodes=* | --distribution=block | --kill-on-bad-exit=1 | --label | --export=ALL | --cpus-per-task=*) ;;
    --ntasks=*) tasks=$value ;;
    --ntasks-per-node=*) per_node=$value ;;
    --container-image=*)
      [[ -f $value || $value == docker://* ]] || fail "pyxis: couldn't start container: $value"
      echo "$1"
      ;;
    --container-mounts=*)
      IFS=, read -r -a mounts <<<"$value"
      for mount in "${mounts[@]}"; do
        [[ $mount =~ ^(/[^:,]*):/[^:,]*(:[a-z+]+)?$ && -e ${BASH_REMATCH[1]} ]] || fail "pyxis: invalid mount: $mount"
      done
      echo "$1"
      ;;
    --container-workdir=/* | --container-env=* | --no-container-mount-home) echo "$1" ;;
    *) fail "unrecognized option '$1'" ;;
  esac
  shift
done
for ((task = 0; task < tasks; task++)); do
  CONTAINED=yes SLURM_PROCID=$task SLURM_LOCALID=$((task % per_node)) SLURM_NODEID=$((task / per_node)) "$@" &
  wait $! || exit
done"#;

const TRAINING: &str = "echo \"rank=$RANK of $WORLD_SIZE in ${PWD##*/} contained=$CONTAINED mode=$MODE entered=${TRAINYARD_ENTERED-} $SECRET\"";

fn world(runtime: ContainerRuntime, launcher: Launcher, slurm: bool) -> World {
    let mut world = World::new(TRAINING);
    if slurm {
        world.spec = on_slurm(world.spec, 2);
        world.install("scontrol", "printf 'n1\\nn2\\n'");
        world.set("SLURM_JOB_ID", "100");
        world.set("SLURM_JOB_NODELIST", "n[1-2]");
    }
    world.spec = launched(world.spec, launcher, if launcher == Launcher::None { 1 } else { 2 });
    let binds = vec![
        world.path("bin").display().to_string(),
        format!("{}:/site:ro", world.path("tmp").display()),
    ];
    let image = world.path("image.sif").display().to_string();
    world.write("image.sif", "");
    world.write("runs/42-demo/secrets.env", "SECRET=a 'b' $c\n");
    fs::create_dir_all(world.path("runs/.store")).unwrap();
    world.spec.environment.secrets = Some("/home/ada/secrets.env".into());
    world.spec.environment.variables = vec![("MODE".into(), word("fast"))];
    world.spec.environment.container =
        Some(Container { runtime, image, args: Vec::new(), binds, gpus: Gpus::Nvidia });
    world.install("apptainer", APPTAINER);
    world.install("srun", if runtime == ContainerRuntime::Pyxis { SRUN } else { PLAIN_SRUN });
    world
}

/// srun without Pyxis.
const PLAIN_SRUN: &str = r#"
while [[ ${1:-} == -* ]]; do
  [[ $1 != --container-* ]] || exit 255
  [[ $1 != --ntasks=* ]] || tasks=${1#*=}
  [[ $1 != --ntasks-per-node=* ]] || per_node=${1#*=}
  shift
done
for ((task = 0; task < tasks; task++)); do
  SLURM_PROCID=$task SLURM_LOCALID=$((task % per_node)) SLURM_NODEID=$((task / per_node)) "$@" &
  wait $! || exit
done"#;

/// The log with what differs from world to world hidden.
fn log(world: &World) -> String {
    world.log().replace(&world.path("").display().to_string(), "W/").replace("//", "/")
}

#[track_caller]
fn trains(world: &World, ranks: u32, of: u32) -> String {
    let ended = world.run();
    let log = log(world);
    assert_eq!(ended.code, Some(0), "{ended:?}\n{log}");
    for rank in 0..ranks {
        let line = format!("rank={rank} of {of} in work contained=yes mode=fast entered= a 'b' $c");
        assert!(log.contains(&line), "{line}\n{log}");
    }
    let left = fs::read_dir(world.in_run("logs")).unwrap().count();
    assert_eq!(left, 1, "only the log is left");
    log
}

#[test]
fn apptainer_is_given_its_documented_options_by_every_launcher() {
    use ContainerRuntime::Apptainer;
    let log = trains(&world(Apptainer, Launcher::None, false), 1, 1);
    insta::assert_snapshot!(log);
    trains(&world(Apptainer, Launcher::Srun, false), 2, 2);
    trains(&world(Apptainer, Launcher::None, true), 1, 1);
    trains(&world(Apptainer, Launcher::Srun, true), 4, 4);
    for launcher in [Launcher::Mpi, Launcher::Jax] {
        trains(&world(Apptainer, launcher, true), 4, 4);
    }
    trains(&world(Apptainer, Launcher::Jax, false), 2, 2);
    let mut gpus = world(Apptainer, Launcher::None, true);
    gpus.spec.compute.gpus_per_node = 4;
    assert!(trains(&gpus, 1, 1).contains("apptainer --nv --bind"));
    gpus.spec.environment.container.as_mut().unwrap().gpus = Gpus::Amd;
    fs::remove_file(gpus.in_run("logs/1.out")).unwrap();
    fs::remove_file(gpus.in_run("claims").join(super::world::TOKEN)).unwrap();
    assert!(trains(&gpus, 1, 1).contains("apptainer --rocm --bind"));
}

#[test]
fn torchrun_runs_inside() {
    for slurm in [false, true] {
        let world = world(ContainerRuntime::Apptainer, Launcher::Torchrun, slurm);
        world.install("torchrun", "echo \"torchrun contained=$CONTAINED ${*: -3}\"");
        assert_eq!(world.run().code, Some(0), "{}", world.log());
        assert!(
            world.log().contains("torchrun contained=yes --no-python bash train.sh"),
            "{}",
            world.log()
        );
    }
}

#[test]
fn accelerate_and_deepspeed_run_inside() {
    let python = "echo \"python contained=$CONTAINED node=$NODE_RANK $*\"";
    for (launcher, program) in
        [(Launcher::Accelerate, "accelerate"), (Launcher::Deepspeed, "python")]
    {
        for (runtime, slurm) in [
            (ContainerRuntime::Apptainer, false),
            (ContainerRuntime::Apptainer, true),
            (ContainerRuntime::Pyxis, true),
        ] {
            let mut world = world(runtime, launcher, slurm);
            world.spec.code.program = Program::EntryPoint("train.py".into());
            world.install(program, python);
            assert_eq!(world.run().code, Some(0), "{}", world.log());
            let log = world.log();
            let own = log
                .lines()
                .filter(|line| line.starts_with("python contained=yes"))
                .collect::<Vec<_>>();
            assert_eq!(own.len(), if slurm { 2 } else { 1 }, "{log}");
            for (node, line) in own.iter().enumerate() {
                let option =
                    if launcher == Launcher::Accelerate { "--machine_rank" } else { "--node_rank" };
                let number = format!("{option}={node}");
                assert!(
                    line.contains(&format!("node={node} ")) && line.contains(&number),
                    "{line}"
                );
                assert!(line.ends_with(" train.py"), "{line}");
            }
        }
    }
}

#[test]
fn pyxis_is_given_its_documented_options() {
    use ContainerRuntime::Pyxis;
    let log = trains(&world(Pyxis, Launcher::Srun, true), 4, 4);
    insta::assert_snapshot!(log);
    trains(&world(Pyxis, Launcher::None, true), 1, 1);
}

#[test]
fn what_the_training_ends_with_is_what_the_run_ends_with() {
    for (runtime, launcher, slurm) in [
        (ContainerRuntime::Apptainer, Launcher::None, false),
        (ContainerRuntime::Apptainer, Launcher::Srun, false),
        (ContainerRuntime::Apptainer, Launcher::Srun, true),
        (ContainerRuntime::Pyxis, Launcher::Srun, true),
    ] {
        let world = world(runtime, launcher, slurm);
        world.write("code/train.sh", "exit 7");
        assert_eq!(world.run().code, Some(7), "{}", world.log());
    }
}

#[test]
fn a_container_that_does_not_start_is_no_training_that_failed() {
    use ContainerRuntime::{Apptainer, Pyxis};
    for (runtime, slurm) in [(Apptainer, false), (Apptainer, true), (Pyxis, true)] {
        let mut world = world(runtime, Launcher::Srun, slurm);
        world.spec.environment.container.as_mut().unwrap().args = vec!["--no-such-flag".into()];
        assert_eq!(world.run().code, Some(95), "{}", world.log());
        let event = world.last_event();
        assert!(event.message.contains("the container did not start on"), "{event:?}");
        assert!(world.log().contains("stand-in"), "{}", world.log());
    }
    let mut missing = world(Apptainer, Launcher::None, false);
    missing.spec.environment.container.as_mut().unwrap().image = "/no/such.sif".into();
    missing.run().launch_failed(&missing, "there is no container image /no/such.sif");
    let mut absent = world(Apptainer, Launcher::None, false);
    absent.spec.code.program = Program::Command(vec![word("no-such-program")]);
    assert_eq!(absent.run().code, Some(95));
    assert!(
        absent.log().contains("there is no no-such-program in the container"),
        "{}",
        absent.log()
    );
}

#[test]
fn what_an_image_is_is_recorded() {
    let identity = |runtime: ContainerRuntime, image: &str, make: &dyn Fn(&World)| {
        let mut world = world(runtime, Launcher::None, false);
        make(&world);
        let expected = if image.contains("://") {
            image.to_owned()
        } else {
            world.path(image).display().to_string()
        };
        world.spec.environment.container.as_mut().unwrap().image = expected.clone();
        assert_eq!(world.run().code, Some(0), "{}", world.log());
        let record = fs::read(world.in_run("environment/1.txt")).unwrap();
        let record = EnvironmentRecord::parse(&record);
        assert_eq!(record.image, Some(expected));
        record.image_identity
    };
    let starts = |identity: Option<String>, start: &str| {
        let identity = identity.unwrap_or_default();
        assert!(identity.starts_with(start) && identity.ends_with(" +0000"), "{identity}");
    };
    let apptainer = ContainerRuntime::Apptainer;
    let write = |bytes: Vec<u8>| move |world: &World| fs::write(world.path("i"), &bytes).unwrap();
    let mut sif = vec![0; 100];
    sif[..30].copy_from_slice(b"#!/usr/bin/env run-singularity");
    sif[32..41].copy_from_slice(b"SIF_MAGIC");
    sif[48..64].copy_from_slice(&[0xab; 16]);
    let id = "ab".repeat(16);
    starts(identity(apptainer, "i", &write(sif)), &format!("SIF {id}, 100 bytes, changed 20"));
    let squash =
        [b"hsqs\x01\0\0\0".as_slice(), &1_700_000_000_u32.to_le_bytes(), &[0; 88]].concat();
    starts(
        identity(apptainer, "i", &write(squash)),
        "SquashFS of 1700000000, 100 bytes, changed 20",
    );
    starts(identity(apptainer, "i", &write(vec![7; 5])), "5 bytes, changed 20");
    starts(identity(apptainer, "i", &write(Vec::new())), "0 bytes, changed 20");
    let metadata = |world: &World| world.write("d/ch/metadata.json", "{}");
    let sum = "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";
    starts(identity(apptainer, "d", &metadata), &format!("metadata {sum}, directory, changed 20"));
    let plain = |world: &World| fs::create_dir(world.path("d")).unwrap();
    starts(identity(apptainer, "d", &plain), "directory, changed 20");
    assert_eq!(identity(apptainer, "docker://python:3.12", &|_| {}), None);
    let pinned = format!("docker://python@sha256:{sum}");
    assert_eq!(identity(apptainer, &pinned, &|_| {}), Some(format!("sha256:{sum}")));
}
