scontrol release 61
