scancel 61
