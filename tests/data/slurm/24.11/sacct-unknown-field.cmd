sacct -X -n -P -S uts1795242560 -o JobIDRaw,NoSuchField
