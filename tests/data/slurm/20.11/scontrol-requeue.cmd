scontrol requeue 56
