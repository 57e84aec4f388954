scontrol requeue 42
