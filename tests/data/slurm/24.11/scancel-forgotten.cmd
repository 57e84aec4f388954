scancel 48
