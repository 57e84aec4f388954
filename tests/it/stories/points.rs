//! What is shown of a point of a sweep: its files lie elsewhere than those of a run of its own.

use crate::env::TestEnv;

#[test]
fn the_logs_of_a_point_are_found_after_its_end() {
    let mut env = TestEnv::new();
    let root = env.run_root().display().to_string();
    env.use_site(&format!(
        "[site]\nrun_root = '{root}'\n[script]\nprologue = 'echo loading the modules'\n"
    ));
    let spec = env.bash_spec("lr", "echo \"training $2\"; [[ $2 == 0 ]] || exit 3");
    let text = std::fs::read_to_string(&spec).unwrap();
    std::fs::write(&spec, format!("{text}[sweep.parameters]\n'args.n' = [0, 1]\n")).unwrap();
    let sweep = env.submit(&spec);
    for (point, state) in [(0, "completed"), (1, "failed")] {
        env.until(sweep + 1 + point, &[state]);
        let log = env.line(&format!("logs {sweep}:{point}")).success().stdout;
        let whole = format!("training {point}\nloading the modules\n");
        assert_eq!(log, whole);
        let said = env.line(&format!("logs {sweep}:{point} --source scheduler")).success().stdout;
        assert_eq!(said, whole, "it has moved there");
    }
    let why = env.line(&format!("explain {sweep}:1")).success().stdout;
    assert!(why.contains("exit code 3") && why.contains("training 1"), "{why}");
}
