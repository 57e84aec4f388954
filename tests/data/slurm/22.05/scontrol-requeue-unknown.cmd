scontrol requeue 999999
