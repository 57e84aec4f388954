scontrol requeue 41
