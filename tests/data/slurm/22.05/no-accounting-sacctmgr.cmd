sacctmgr -n -P show associations
