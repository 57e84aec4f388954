scontrol requeue 43
