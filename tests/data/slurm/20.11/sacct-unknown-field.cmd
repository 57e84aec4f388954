sacct -X -n -P -S uts1795242564 -o JobIDRaw,NoSuchField
