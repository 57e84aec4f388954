scancel 62
