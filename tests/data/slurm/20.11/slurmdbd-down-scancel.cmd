scancel 1
