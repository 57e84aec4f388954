scontrol requeue 55
