scontrol release 62
