scancel 63
