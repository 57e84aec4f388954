scancel 49
