//! Somebody comes with a batch script.

use crate::env::TestEnv;

#[test]
fn a_batch_script_becomes_a_run() {
    let env = TestEnv::new();
    env.write("lab/train.py", "import os, sys\nprint(sys.argv[1:], os.environ['MODE'])\n");
    let script = "#!/bin/bash\n#SBATCH --job-name=Lab\n#SBATCH --time=10:00\n#SBATCH --output=x\n\
                  export MODE=quick\npython3 train.py --epochs 2 --dry\n";
    env.write("lab/job.sbatch", script);
    let said = env.line("init --from lab/job.sbatch lab/run.toml").success();
    assert!(said.stderr.contains("line 4: #SBATCH --output=x"), "{said}");
    assert!(said.stderr.lines().all(|line| line.chars().count() <= 80), "{said}");
    drop(env.line("check lab/run.toml").success());
    drop(env.line("submit lab/run.toml --wait").success());
    let log = env.line("logs 1").success().stdout;
    assert!(log.contains("['--epochs', '2', '--dry'] quick"), "{log}");
    drop(env.line("init --from lab/job.sbatch lab/run.toml").ended(11));
    let json = env.line("init --json --from lab/job.sbatch lab/two.toml").success().json();
    assert_eq!(json["not_taken"][0]["line"], 4, "{json:#}");
    assert_eq!(json["taken"][0]["key"], "name", "{json:#}");
}
