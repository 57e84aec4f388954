sacct -X -n -P -S uts1795242565 -o JobIDRaw,NoSuchField
