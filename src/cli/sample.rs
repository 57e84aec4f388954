//! A run for tests of what is shown.

use serde_json::Value;

use crate::domain::view::RunView;

/// When the sample is looked at.
pub(super) const NOW: &str = "2026-05-01T12:00:00Z";

/// A run that has been running for two hours, but for these changes.
pub(super) fn run(changes: Value) -> RunView {
    let mut run: Value = serde_json::from_str(RUN).expect("JSON");
    run["attempts"] = serde_json::from_str(ATTEMPTS).expect("JSON");
    let Value::Object(changes) = changes else { unreachable!("changes are an object") };
    run.as_object_mut().expect("an object").extend(changes);
    serde_json::from_value(run).expect("a run")
}

const RUN: &str = r#"{
    "id": 42, "name": "llama-sft", "token": null, "owner": "alice", "project": "nlp",
    "experiment": "ablation", "state": "running", "reason": null, "message": "",
    "created_at": "2026-05-01T09:30:00Z", "submitted_at": "2026-05-01T09:30:01Z",
    "started_at": "2026-05-01T10:00:00Z", "ended_at": null, "stale_since": null, "stale_who": null,
    "target": "slurm", "cluster": "main", "class": "a100-4x", "nodes": 2, "gpus_per_node": 4,
    "processes_per_node": 4, "world_size": 8, "launcher": "torchrun", "strategy": "fsdp",
    "queue_seconds": 1799.0, "waiting_seconds": 1799.0, "elapsed_seconds": 7200.0, "node_hours": 4.0,
    "gpu_hours": 16.0, "charge": 4.0, "charge_unit": "unit", "charge_estimated": true,
    "self_reported": false,
    "progress": { "step": 500, "steps": 2000, "epoch": 1.0, "epochs": 4.0, "fraction": 0.25 },
    "metrics": { "loss": { "last": 0.31, "step": 500, "at": "2026-05-01T11:59:00Z" } },
    "checkpoints": null, "sweep": null, "point": null, "parameters": null,
    "run_dir": "/scratch/alice/trainyard/42-llama-sft", "key": null, "spec_digest": "0",
    "code": { "path": "/home/alice/llama", "digest": null, "commit": null, "dirty": null },
    "datasets": []
}"#;

const ATTEMPTS: &str = r#"[{
    "attempt": 1, "job_id": 981234, "array_task_id": null, "restart_count": 0, "state": "running",
    "slurm_state": "RUNNING", "reason": null, "exit_code": null, "signal": null,
    "nodes": ["gpu01", "gpu02"], "hardware_class": "a100-4x", "partition": "gpu", "qos": null,
    "account": "ml", "time_limit_seconds": 43200, "cpus": 64, "memory": null, "gpus": 8, "notices": "",
    "submitted_at": "2026-05-01T09:30:01Z", "eligible_at": "2026-05-01T09:30:01Z",
    "started_at": "2026-05-01T10:00:00Z", "ended_at": null, "queue_seconds": 1799.0,
    "elapsed_seconds": 7200.0, "node_hours": 4.0, "charge": 4.0, "resumed_from_step": null
}]"#;
