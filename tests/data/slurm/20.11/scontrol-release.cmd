scontrol release 63
