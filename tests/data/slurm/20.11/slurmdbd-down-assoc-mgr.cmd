scontrol -o show assoc_mgr accounts=paid users=root flags=assoc
