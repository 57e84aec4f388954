//! What each rank knows, and that the ranks hear one another.

use serde_json::json;

use crate::slurm::torch::Torch;

const TRAINING: &str = r#"import os
import torch
import torch.distributed as dist

dist.init_process_group("gloo")
rank = dist.get_rank()
told = torch.tensor([10.0 ** rank, 1.0])
dist.all_reduce(told)
knows = [os.environ[name] for name in
         ("RANK", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "WORLD_SIZE", "TRAINYARD_RUN_NAME", "TRAINYARD_ATTEMPT")]
place = os.environ["NODE_RANK"], os.environ["SLURMD_NODENAME"]
print(f"knows: {' '.join(knows)}: {int(told[0])} {int(told[1])} of {dist.get_world_size()}", flush=True)
print(f"place: {' '.join(place)}", flush=True)
dist.destroy_process_group()
"#;

#[test]
fn the_ranks_of_two_nodes_add_up() {
    let Some(torch) = Torch::new() else { return };
    let env = &torch.cluster.env;
    let spec = torch.spec("sum", TRAINING);
    let text = std::fs::read_to_string(&spec).unwrap();
    assert!(text.contains("[distributed]\n"), "{text}");
    std::fs::write(&spec, text.replace("[distributed]\n", "[distributed]\nrank_logs = true\n"))
        .unwrap();
    let run = env.submit(&spec);
    let shown = env.until(run, &["completed", "failed"]);
    let log = torch.log(run);
    assert_eq!(shown["state"], "completed", "{shown:#}\n{log}");
    assert_eq!((&shown["world_size"], &shown["launcher"]), (&json!(4), &json!("torchrun")));
    let nodes = shown["attempts"][0]["nodes"].as_array().unwrap();
    assert_eq!(nodes.len(), 2, "{shown:#}");
    for rank in 0..4 {
        let line = format!("knows: {rank} {} 2 4 sum 1: 1111 4 of 4", rank % 2);
        assert_eq!(log.matches(&line).count(), 1, "{line}\n{log}");
        let own = env.line(&format!("logs {run} --rank {rank}")).success().stdout;
        assert_eq!((own.matches(&line).count(), own.matches("knows: ").count()), (1, 1), "{own}");
    }
    for (index, node) in nodes.iter().enumerate() {
        let line = format!("place: {index} {}", node.as_str().unwrap());
        assert_eq!(log.matches(&line).count(), 2, "{line}\n{log}");
    }
}
