//! Sweeps of another machine, also such as somebody drives from here.

use std::io::Write as _;
use std::process::{Child, Stdio};

use serde_json::{Value, json};

use crate::env::{Said, wait_until};
use crate::remote::sshd::Ssh;
use crate::remote::{following, said, submitted};

/// An open sweep that is accepted there as sweep 1. A point trains until there is a file `go-POINT` in that world.
fn open(ssh: &Ssh) {
    let home = ssh.there.home().display().to_string();
    let script = format!(
        "until [ -e '{home}/go-'$TRAINYARD_SWEEP_POINT ]; do sleep 0.02; done\n\
         echo \"{{\\\"step\\\": 1, \\\"loss\\\": $2}}\" >>\"$TRAINYARD_METRICS_PATH\"\n"
    );
    let spec = ssh.there.bash_spec("tune", &script);
    let keys = "[sweep]\nmethod = 'open'\nmax_points = 4\n\
                objective = { metric = 'loss', goal = 'minimize' }\n\
                [sweep.parameters]\nargs.lr = { log_uniform = [1e-5, 1e-1] }\n";
    let text = std::fs::read_to_string(&spec).unwrap();
    std::fs::write(&spec, text + keys).unwrap();
    assert_eq!(submitted(ssh, &spec), "1");
}

fn tell(ssh: &Ssh, parameters: &Value, key: &str) -> Value {
    let mut command = ssh.command("sweep tell tune --key");
    let said = Said::of(command.args([key, &parameters.to_string()])).success().json();
    said["told"][0].clone()
}

/// Whoever asks and waits, once it is connected. Nobody else is.
fn asking(ssh: &Ssh, after: u32) -> Child {
    wait_until("who came before is gone", || ssh.carriers() == 0);
    let mut command = ssh.command(&format!("sweep ask tune --wait --after {after}"));
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    wait_until("it is connected", || ssh.carriers() > 0);
    child
}

#[test]
fn an_open_sweep_is_driven_from_afar() {
    let ssh = Ssh::new();
    open(&ssh);
    let first = tell(&ssh, &json!({ "args.lr": 0.01 }), "a");
    assert_eq!((&first["run"], &first["new"]), (&json!(2), &json!(true)));
    // Whoever heard no answer says the same again.
    let again = tell(&ssh, &json!({ "args.lr": 0.01 }), "a");
    assert_eq!((&again["run"], &again["new"]), (&json!(2), &json!(false)));
    let mut lines = ssh.command("sweep tell 1 -");
    lines.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut lines = lines.spawn().unwrap();
    lines.stdin.take().unwrap().write_all(b"{\"args.lr\": 1e-3}\n{\"args.lr\": 2e-3}\n").unwrap();
    let told = Said::of_child(lines, "sweep tell 1 -").success().json();
    assert_eq!(told["points"], 3);
    let nothing = said(&ssh, "sweep ask tune --wait --timeout 0s").ended(12).json();
    assert_eq!((&nothing["state"], &nothing["results"]), (&json!("running"), &json!([])));
    let wrong = Said::of(ssh.command("sweep tell tune").arg(r#"{"args.lr": 1}"#)).ended(3);
    assert!(wrong.stderr.contains("`args.lr` cannot be 1: it is between"), "{wrong}");
    // An answer comes when there is one, also over a connection that was cut meanwhile.
    let asks = asking(&ssh, 0);
    ssh.there.write("go-1", "");
    let answer = Said::of_child(asks, "sweep ask").success().json();
    let result = &answer["results"][0];
    assert_eq!((&result["point"], &result["best"]), (&json!(1), &json!(0.001)));
    let asks = asking(&ssh, 1);
    let before = ssh.calls();
    ssh.cut();
    wait_until("it connects again", || ssh.calls() > before && ssh.carriers() > 0);
    ssh.there.write("go-0", "");
    let answer = Said::of_child(asks, "sweep ask").success().json();
    assert_eq!((&answer["results"][0]["key"], &answer["after"]), (&json!("a"), &json!(2)));
    // The sweep is waited for by its name.
    let waits = following(&ssh, "wait tune");
    drop(said(&ssh, "sweep tell tune --close").success());
    ssh.there.write("go-2", "");
    let waited = Said::of_child(waits, "wait tune").success();
    assert!(
        waited.stderr.contains("sweep 1 `tune` completed with all of its 3 points"),
        "{waited}"
    );
    let last = said(&ssh, "sweep ask tune --after 3 --wait").success().json();
    assert_eq!((&last["over"], &last["results"]), (&json!(true), &json!([])));
    let again = said(&ssh, "rerun 1:1 --wait --json").success().json();
    assert_eq!(
        (&again["rerun_of_point"], &again["metrics"]["loss"]["last"]),
        (&json!("1:1"), &json!(0.001))
    );
    assert!(!ssh.here.state_dir().exists(), "this machine has no part in it");
}
