scontrol hold 63
