scontrol hold 62
