scontrol hold 61
