//! Open sweeps and those around them: who drives one is killed or goes away, and others wait, skip or hold secrets.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::env::{Said, TestEnv, wait_until};
use crate::environments::environment;
use crate::stories::open_sweeps::{KEYS, adam, ask, open, tell, trained};

#[test]
fn secrets_are_there_for_each_point_that_is_told() {
    let env = TestEnv::new();
    let taken = secretive(&env);
    assert!(!taken.exists(), "nobody needs them yet");
    for (after, lr) in [(0, 0.01), (1, 0.02)] {
        drop(tell(&env, &adam(lr), &[]).success());
        let ended = ask(&env, &format!("--after {after} --wait"));
        assert_eq!(ended["results"][0]["state"], "completed", "{ended}");
        wait_until("the secrets are gone", || !taken.exists());
    }
}

#[test]
fn who_queues_behind_an_open_sweep_waits_for_the_points_that_it_has() {
    let env = TestEnv::new();
    let work = "until [[ -e $HOME/go-$TRAINYARD_SWEEP_POINT ]]; do sleep 0.1; done";
    let spec = open(&env, work, KEYS);
    drop(tell(&env, &adam(0.01), &[]).success());
    let submit = format!("submit {} --if-active queue", spec.display());
    let next = env.line(&submit).success().stdout;
    let next = next.trim();
    drop(env.run(["sweep", "tell", next, &adam(0.03).to_string()]).success());
    drop(tell(&env, &adam(0.02), &[]).success());
    wait_until("it waits", || {
        let shown = env.line(&format!("show {next}:0 --json")).success().json();
        shown["message"].as_str().unwrap().contains("its sweep waits for 2")
    });
    drop(env.write("go-0", ""));
    let asked = env.line(&format!("sweep ask {next} --wait")).success().json();
    assert_eq!(asked["results"][0]["state"], "completed");
    assert_eq!(trained(&env), ["0 --lr 0.01 --opt adam", "0 --lr 0.03 --opt adam"]);
    drop(env.write("go-1", ""));
    assert_eq!(ask(&env, "--after 1 --wait")["results"][0]["point"], 1);
}

/// A sweep whose points need secrets; gives where those are while somebody needs them.
fn secretive(env: &TestEnv) -> PathBuf {
    let secrets = env.write("secrets.env", "TOKEN=s3cret\n");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(&secrets, mode).unwrap();
    let keys = format!("[environment]\nsecrets = '{}'\n{KEYS}", secrets.display());
    drop(open(env, "[[ $TOKEN = s3cret ]] || exit 3", &keys));
    env.run_root().join("1-tune/secrets.env")
}

#[test]
fn secrets_that_were_taken_for_points_which_never_were_do_not_stay() {
    let env = TestEnv::new();
    let taken = secretive(&env);
    let table = env.run_root().join("1-tune/points.tsv");
    // The daemon is killed while it writes the points' lines.
    std::fs::remove_file(&table).unwrap();
    nix::unistd::mkfifo(&table, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let mut command = env.command();
    command.args(["sweep", "tell", "1", &adam(0.01).to_string()]);
    let telling = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    wait_until("the secrets are taken", || taken.exists());
    env.kill_daemon();
    drop(Said::of_child(telling, "sweep tell 1").ended(5));
    assert!(taken.exists());
    drop(env.line("list").success());
    wait_until("the next daemon has removed them", || !taken.exists());
    // The lines cannot be written.
    std::fs::remove_file(&table).unwrap();
    std::fs::create_dir(&table).unwrap();
    let said = tell(&env, &adam(0.01), &[]).ended(70);
    assert!(said.stderr.contains("points.tsv"), "{said}");
    wait_until("they are gone", || !taken.exists());
    std::fs::remove_dir(&table).unwrap();
    std::fs::write(&table, "").unwrap();
    drop(tell(&env, &adam(0.01), &[]).success());
    assert_eq!(ask(&env, "--wait")["results"][0]["state"], "completed");
    wait_until("they are gone after the point, too", || !taken.exists());
}

#[test]
fn a_sweep_is_closed_also_when_who_told_it_so_has_gone_away() {
    let env = TestEnv::new();
    const POINTS: u32 = 1_000;
    drop(open(&env, "sleep 300", &KEYS.replace("max_points = 4", "max_points = 1000")));
    let point = |_| json!({ "parameters": adam(0.01).to_string() });
    let points: Vec<Value> = (0..POINTS).map(point).collect();
    let body = json!({ "points": points, "close": true });
    let body = body.to_string();
    let mut stream = UnixStream::connect(env.state_dir().join("daemon.sock")).unwrap();
    let head = "POST /api/v1/sweeps/1/tell HTTP/1.1\r\nhost: trainyard\r\ncontent-type: application/json\r\n";
    write!(stream, "{head}content-length: {}\r\n\r\n{body}", body.len()).unwrap();
    // It goes once the points are being taken.
    let table = env.run_root().join("1-tune/points.tsv");
    wait_until("the lines are written", || std::fs::metadata(&table).unwrap().len() > 0);
    drop(stream);
    wait_until("it is told its points and closed", || {
        let asked = ask(&env, "");
        asked["points"] == POINTS && asked["open"] == false
    });
}

#[test]
fn a_schedule_is_skipped_while_an_open_sweep_of_its_name_waits() {
    let env = TestEnv::new();
    drop(open(&env, "", KEYS));
    let path = env.bash_spec("tune", "true");
    let text = std::fs::read_to_string(&path).unwrap();
    let keys = "[schedule]\ncron = '0 0 29 2 *'\ntimezone = 'UTC'\nif_active = 'skip'\n";
    std::fs::write(&path, text + keys).unwrap();
    drop(env.line("schedule add tune.toml").success());
    let said = env.line("schedule run-now tune").success();
    assert!(said.stderr.contains("skipped: asked for by hand; sweep 1 was active"), "{said}");
    assert_eq!(said.stdout, "");
    let listed = env.line("schedule list tune --json").success().json();
    let firing = &listed["firings"][0];
    assert_eq!((&firing["outcome"], &firing["run"]), (&json!("skipped"), &Value::Null));
    drop(env.line("sweep tell 1 --close").success());
    assert_eq!(env.line("schedule run-now tune").success().stdout, "2\n");
}

/// The program of `examples/optuna`, in a directory of this world.
#[expect(clippy::disallowed_methods, reason = "the story is about somebody else's program")]
fn drive(env: &TestEnv, trials: u32) -> Command {
    let mut command = Command::new(Path::new(&environment("optuna")).join("bin/python3"));
    command.args(["drive.py", "--trials", &trials.to_string()]);
    command.current_dir(env.home().join("optuna")).env_clear().env("HOME", env.home());
    command.env("PATH", format!("{}:/usr/bin:/bin", env.home().join("bin").display()));
    command.env("TRAINYARD_SITE", env.home().join("site.toml"));
    command
}

#[test]
fn optuna_drives_a_sweep_and_goes_on_after_it_was_killed() {
    const TRIALS: u32 = 12;
    let mut env = TestEnv::new();
    env.use_site("[site]\nname = 'here'\n");
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/optuna");
    let copy = format!("cp -r '{}' optuna", example.display());
    assert!(env.bash(&copy).status().unwrap().success());
    // Who calls it is killed before it has heard what came of its ninth call.
    let program = env!("CARGO_BIN_EXE_trainyard");
    let calls = "echo >>\"$HOME/calls\"\n[[ $(wc -l <\"$HOME/calls\") == 9 ]] && ends=yes";
    let script = format!(
        "{calls}\nsaid=$('{program}' \"$@\")\ncode=$?\n[[ -z $ends ]] || kill -KILL $PPID\n\
         printf '%s\\n' \"$said\"\nexit $code\n"
    );
    drop(env.program("bin/trainyard", &script));
    drop(Said::of(&mut drive(&env, TRIALS)).ended(-1));
    let asked = || env.line("sweep ask tuned").success().json();
    let early = asked()["points"].as_u64().unwrap();
    assert!((1..u64::from(TRIALS)).contains(&early), "it was killed in the middle: {early}");
    // Somebody tells it points that are no trials.
    let own = json!({
        "args.learning_rate": 1e-3, "args.momentum": 0.5, "args.batches": 1, "args.schedule": "cosine",
    });
    drop(tell(&env, &own, &[]).success());
    drop(tell(&env, &own, &["--key", "mine"]).success());
    let drives = |trials: u32, more: &[&str]| {
        let said = Said::of(drive(&env, trials).args(more)).success();
        let told = format!("sweep 1: {trials} trials, {trials} completed\nbest: trial ");
        assert!(said.stdout.contains(&told), "{said}");
    };
    drives(TRIALS, &[]);
    // Called once more it has nothing to do, and with more trials it goes on.
    drives(TRIALS, &[]);
    assert_eq!(asked()["open"], true);
    drives(TRIALS + 2, &["--close"]);
    let asked = asked();
    assert_eq!((&asked["points"], &asked["state"]), (&json!(TRIALS + 4), &json!("completed")));
    let results = asked["results"].as_array().unwrap().iter();
    let mut keys: Vec<&str> =
        results.filter_map(|it| it["key"].as_str()).filter(|key| *key != "mine").collect();
    keys.sort_unstable();
    keys.dedup();
    assert_eq!(keys.len(), TRIALS as usize + 2, "each trial is one point: {asked}");
    let more = Said::of(&mut drive(&env, TRIALS + 3)).ended(1);
    assert!(more.stderr.contains("sweep 1 is closed and takes no more trials"), "{more}");
    drives(TRIALS + 2, &[]);
}

/// A question to the daemon, whose answer is all that comes of it.
fn asked(env: &TestEnv, path: &str) -> UnixStream {
    let mut stream = UnixStream::connect(env.state_dir().join("daemon.sock")).unwrap();
    let head = format!("GET /api/v1/{path} HTTP/1.1\r\nhost: trainyard\r\nconnection: close");
    write!(stream, "{head}\r\n\r\n").unwrap();
    stream
}

#[test]
fn who_waits_for_a_result_is_answered_once_there_is_one_or_the_time_is_up() {
    let env = TestEnv::new();
    drop(open(&env, "until [[ -e $HOME/go ]]; do sleep 0.1; done", KEYS));
    drop(tell(&env, &adam(0.01), &[]).success());
    let mut answer = String::new();
    let mut late = asked(&env, "sweeps/1/results?waits=true&wait=1");
    late.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("\"results\":[]"), "{answer}");
    let mut waits = asked(&env, "sweeps/1/results?waits=true");
    // What changes meanwhile, as that the point starts, is no result.
    let patience = std::time::Duration::from_secs(2);
    waits.set_read_timeout(Some(patience)).unwrap();
    let nothing = waits.read(&mut [0]).map_err(|error| error.kind());
    assert_eq!(nothing, Err(std::io::ErrorKind::WouldBlock));
    waits.set_read_timeout(None).unwrap();
    env.write("go", "");
    answer.clear();
    waits.read_to_string(&mut answer).unwrap();
    assert!(answer.contains("\"state\":\"completed\""), "{answer}");
}
