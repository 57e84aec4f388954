scancel 50
