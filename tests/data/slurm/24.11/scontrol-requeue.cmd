scontrol requeue 54
